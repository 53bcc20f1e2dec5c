import { ActorGoneError, ActorSystem } from '../../src/actors/actor.ts';
import type { Child, ChildSpec, StartContext } from '../../src/supervisors/child-spec.ts';
import type { ExitReason } from '../../src/supervisors/exit-reason.ts';
import { supervisorChild } from '../../src/supervisors/supervisor-child.ts';
import {
  ChildCallError,
  ChildStartError,
  SupervisorStartError,
} from '../../src/supervisors/supervisor-errors.ts';
import type { StartedChild, SupervisorHandle } from '../../src/supervisors/supervisor-handle.ts';
import { startSupervisor } from '../../src/supervisors/supervisor-start.ts';
import type {
  ChildPlan,
  NestedPlan,
  Observation,
  Op,
  Reason,
  Scenario,
  SupervisorPlan,
  Trace,
  WorkerPlan,
} from './scenario.ts';

/** Plays a scenario on our supervisor. Nothing waits by sleeping: a step is over when nobody has anything left to do. */
export async function play(scenario: Scenario): Promise<Trace> {
  const player = new Player();
  try {
    return await player.play(scenario);
  } finally {
    await player.end();
  }
}

class StartFailure extends Error {}

/** A worker of a scenario: it has no process; it is what its plan says. */
interface Worker {
  readonly end: (reason: Reason) => void;
}

class Player {
  readonly system = new ActorSystem();
  readonly #starts = new Map<string, number>();
  readonly #workers = new Map<string, Worker>();
  readonly #supervisors = new Map<string, SupervisorHandle>();
  readonly #labels = new WeakMap<Child, string>();
  #events: unknown[] = [];

  async play({ name, supervisor, steps }: Scenario): Promise<Trace> {
    const observations: Trace['steps'][number][] = [];
    observations.push(await this.#observe([await this.#startRoot(supervisor)]));
    for (const { at, ops } of steps) {
      const handle = this.#supervisors.get(at);
      if (handle === undefined) {
        observations.push({ skipped: true });
        continue;
      }
      const release = await hold(handle);
      const pending = ops.map((op) => this.#perform(handle, at, op));
      release();
      observations.push(await this.#observe(await Promise.all(pending)));
    }
    return { name, steps: observations };
  }

  /** Ends what is left; nothing may outlive that. */
  async end(): Promise<void> {
    await this.system.stopAll();
    const { live } = this.system.stats;
    if (live > 0 || this.#workers.size > 0) {
      throw new Error(`left behind: ${live} actors, workers ${[...this.#workers.keys()].join(', ')}`);
    }
  }

  async #startRoot(plan: SupervisorPlan): Promise<unknown> {
    const n = this.#count('root');
    this.#events.push(['start', 'root', n, 'ok']);
    try {
      const root = await startSupervisor(this.system, { name: 'root', ...this.#options('root', plan) });
      this.#supervisors.set('root', root);
      void root.exited.then((reason) => this.#supervisorExited('root', n, reason));
      return ['ok', `root#${n}`];
    } catch (error) {
      this.#events.push(['exit', 'root', n, failure(error)]);
      return ['error', 'failed', failure(error)];
    }
  }

  #options(path: string, { strategy, intensity, children }: SupervisorPlan) {
    return {
      strategy,
      intensity,
      periodMs: 3_600_000,
      children: children.map((child) => this.#spec(path, child)),
    };
  }

  #spec(at: string, plan: ChildPlan): ChildSpec {
    const path = `${at}/${plan.id}`;
    const shutdown = plan.shutdown === 'brutal_kill' ? 'brutal-kill' : plan.shutdown;
    const common = { id: plan.id, restart: plan.restart, shutdown } as const;
    if (plan.type === 'worker') {
      return { ...common, type: 'worker', start: (context) => this.#startWorker(at, path, plan, context) };
    }
    const nested = supervisorChild({ ...common, ...this.#options(path, plan.supervisor) });
    return { ...nested, start: (context) => this.#startNested(path, plan, nested, context) };
  }

  /** The number of this start and what the scenario plans for it. */
  #started(path: string, plan: ChildPlan) {
    const n = this.#count(path);
    const outcome = plan.starts?.[n - 1] ?? 'ok';
    this.#events.push(['start', path, n, outcome]);
    if (outcome === 'fail') throw new StartFailure('failed');
    if (outcome === 'raise') throw new StartFailure('raised');
    return { n, outcome };
  }

  #startWorker(at: string, path: string, plan: WorkerPlan, context: StartContext): Child | 'ignore' {
    const { n, outcome } = this.#started(path, plan);
    if (outcome === 'ignore') return 'ignore';
    if (typeof outcome === 'object' && 'ends' in outcome) this.#end(at, ...outcome.ends);
    const child = this.#worker(at, path, n, plan, context);
    if (typeof outcome === 'object' && 'dies' in outcome) this.#workers.get(path)?.end(outcome.dies);
    return child;
  }

  #worker(at: string, path: string, n: number, plan: WorkerPlan, context: StartContext): Child {
    const onShutdown = plan.on_shutdown ?? 'exit';
    let alive = true;
    const exit = (reason: ExitReason) => {
      if (!alive) return;
      alive = false;
      this.#workers.delete(path);
      this.#events.push(['exit', path, n, reasonJson(reason)]);
      context.exited(reason);
    };
    const obey = () => {
      if (!alive) return;
      this.#events.push(['stop', path, n]);
      if (typeof onShutdown === 'object' && 'ends' in onShutdown) this.#end(at, ...onShutdown.ends);
      exit(
        typeof onShutdown === 'object' && 'exit' in onShutdown
          ? exitReason(onShutdown.exit)
          : { kind: 'shutdown' },
      );
    };
    const child: Child = {
      // Some answer at once and some later; it must make no difference.
      stop: () => {
        if (onShutdown === 'ignore') return;
        if (n % 2 === 0) obey();
        else setImmediate(obey);
      },
      kill: () => exit({ kind: 'killed' }),
    };
    this.#workers.set(path, { end: (reason) => exit(exitReason(reason)) });
    this.#labels.set(child, `${path}#${n}`);
    return child;
  }

  async #startNested(
    path: string,
    plan: NestedPlan,
    spec: ChildSpec,
    context: StartContext,
  ): Promise<Child | 'ignore'> {
    const { n, outcome } = this.#started(path, plan);
    if (outcome === 'ignore') return 'ignore';
    const exited = (reason: ExitReason) => {
      this.#supervisorExited(path, n, reason);
      context.exited(reason);
    };
    try {
      const child = (await spec.start({ ...context, exited })) as Child;
      this.#labels.set(child, `${path}#${n}`);
      this.#supervisors.set(path, child.supervisor as SupervisorHandle);
      return child;
    } catch (error) {
      this.#events.push(['exit', path, n, failure(error)]);
      throw error;
    }
  }

  #supervisorExited(path: string, n: number, reason: ExitReason): void {
    this.#supervisors.delete(path);
    this.#events.push(['exit', path, n, reasonJson(reason)]);
  }

  #end(at: string, id: string, reason: Reason): 'ok' | null {
    const worker = this.#workers.get(`${at}/${id}`);
    worker?.end(reason);
    return worker === undefined ? null : 'ok';
  }

  #perform(handle: SupervisorHandle, at: string, op: Op): unknown {
    switch (op.op) {
      case 'exit':
        return this.#end(at, op.id, op.reason);
      case 'stop':
        void handle.stop();
        return 'ok';
      case 'start_child':
        return this.#answer(handle.startChild(this.#spec(at, op.child)), (child) => [
          'ok',
          this.#label(child),
        ]);
      case 'restart_child':
        return this.#answer(handle.restartChild(op.id), (child) => ['ok', this.#label(child)]);
      case 'terminate_child':
        return this.#answer(handle.terminateChild(op.id), () => 'ok');
      case 'delete_child':
        return this.#answer(handle.deleteChild(op.id), () => 'ok');
      case 'which_children':
        return this.#answer(this.#children(handle), (children) => children);
      case 'count_children':
        return this.#answer(counts(handle), (numbers) => numbers);
    }
  }

  async #answer<Value>(call: Promise<Value>, json: (value: Value) => unknown): Promise<unknown> {
    try {
      return json(await call);
    } catch (error) {
      if (error instanceof ActorGoneError) return 'gone';
      if (error instanceof ChildStartError) return ['error', 'failed', failure(error.cause)];
      if (!(error instanceof ChildCallError)) throw error;
      return ['error', error.code, ...(error.started === undefined ? [] : [this.#label(error.started)])];
    }
  }

  async #children(handle: SupervisorHandle): Promise<unknown[]> {
    const children = await handle.whichChildren();
    return children.map(({ id, child, type }) => [
      id,
      child === 'restarting' ? child : this.#label(child),
      type,
    ]);
  }

  #label(started: StartedChild | undefined): string | null {
    return started === undefined ? null : (this.#labels.get(started.child) ?? 'unknown');
  }

  /** What happened since the last time, once nothing goes on any more. */
  async #observe(results: readonly unknown[]): Promise<Observation> {
    await this.#quiesce();
    const tree: unknown[] = [];
    for (const [path, handle] of this.#live()) {
      tree.push([path, await this.#children(handle), await counts(handle)]);
    }
    const events = this.#events;
    this.#events = [];
    return { events, results, tree };
  }

  /** Quiet is: every supervisor has answered twice in a row and nothing has happened in between. */
  async #quiesce(): Promise<void> {
    for (let quiet = 0; quiet < 2; ) {
      const before = this.#events.length;
      await Promise.allSettled(this.#live().map(([, handle]) => handle.countChildren()));
      await new Promise((resolve) => setImmediate(resolve));
      quiet = this.#events.length === before ? quiet + 1 : 0;
    }
  }

  #live(): (readonly [string, SupervisorHandle])[] {
    return [...this.#supervisors].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  #count(path: string): number {
    const n = (this.#starts.get(path) ?? 0) + 1;
    this.#starts.set(path, n);
    return n;
  }
}

/** Keeps a supervisor busy with the start of a child that leaves no trace, until the function it gives is called. */
function hold(handle: SupervisorHandle): Promise<() => void> {
  return new Promise((held) => {
    const start = () => new Promise<'ignore'>((resolve) => held(() => resolve('ignore')));
    void handle.startChild({ id: 'gate', restart: 'temporary', start }).catch(() => undefined);
  });
}

async function counts(handle: SupervisorHandle): Promise<number[]> {
  const { specs, active, supervisors, workers } = await handle.countChildren();
  return [specs, active, supervisors, workers];
}

function exitReason(reason: Reason): ExitReason {
  if (reason === 'kill') return { kind: 'killed' };
  if (typeof reason === 'string') return { kind: reason };
  if ('shutdown' in reason) return { kind: 'shutdown', detail: reason.shutdown };
  return { kind: 'error', error: reason.error };
}

function reasonJson(reason: ExitReason): unknown {
  switch (reason.kind) {
    case 'normal':
    case 'killed':
      return reason.kind;
    case 'shutdown':
      return reason.detail === undefined ? 'shutdown' : { shutdown: reason.detail };
    case 'error':
      return { error: reason.error };
  }
}

/** Why something did not start. */
function failure(error: unknown): unknown {
  if (error instanceof StartFailure) return error.message;
  if (!(error instanceof SupervisorStartError)) throw error;
  return { shutdown: ['failed_to_start_child', error.id, failure(error.cause)] };
}
