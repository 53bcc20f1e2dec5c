/**
 * A pool as a part of the tree.
 *
 * ```
 * pool:NAME (rest_for_one, never gives up)
 * |-- workers (the pool's own strategy, intensity, period)     backoff: how the pool comes back when it was down
 * |   |-- NAME-1 .. NAME-n                                     backoff: how a worker comes back when it died
 * `-- queue
 * ```
 *
 * When `workers` passes its intensity it ends, and the pool is down: the queue goes with it, what waited is answered, and the
 * whole is tried again after the backoff, with one worker first (the probe). `pool:NAME` itself never gives up, so that a
 * broken pool takes no other with it.
 *
 * Settings change in place. Whatever they say about the number of workers is brought about step by step: what is missing is
 * started, what is too much is drained and forgotten once it has gone.
 */
import { ActorGoneError } from '../actors/actor.ts';
import { type PoolQueueMessage, type PoolQueueOptions, poolQueue } from '../actors/pool-queue.ts';
import type { PoolStatus } from '../actors/pool-status.ts';
import { type WorkerActorOptions, workerActor } from '../actors/worker-actor.ts';
import type { WorkerMessage } from '../actors/worker-roster.ts';
import type { PoolConfig, RestartConfig } from '../config/pools.ts';
import { isWorkerFailure } from '../workers/worker-exit.ts';
import { actorChild } from './actor-child.ts';
import type { BackoffOptions } from './backoff.ts';
import type { ChildSpec } from './child-spec.ts';
import { type ExitReason, SHUTDOWN } from './exit-reason.ts';
import { supervisorChild } from './supervisor-child.ts';
import { ChildCallError } from './supervisor-errors.ts';
import type { SupervisorEvent } from './supervisor-event.ts';
import type { SupervisorHandle } from './supervisor-handle.ts';
import type { SupervisorChanges } from './supervisor-options.ts';

/** What the pool decides for its workers and its queue; the rest comes from outside. */
export type PoolWorkerOptions = Omit<WorkerActorOptions, 'id' | 'incarnation' | 'isOutdated' | 'onChange'>;

export interface PoolOptions {
  readonly name: string;
  /** Of its node in the tree; `pool:NAME` where nothing is said. */
  readonly id?: string;
  readonly settings: PoolConfig;
  readonly status: PoolStatus;
  readonly queue: PoolQueueOptions;
  /** Asked for each worker that starts, so that it starts with what is configured then. */
  readonly worker: (settings: PoolConfig) => PoolWorkerOptions;
  /** Tells every worker of the pool. */
  readonly tellWorkers: (message: WorkerMessage, which: (id: string) => boolean) => void;
  readonly tellQueue: (message: PoolQueueMessage) => void;
  readonly onEvent: (event: SupervisorEvent) => void;
  /** A fault of the pool's own. */
  readonly onFault: (error: unknown) => void;
}

const WORKERS = 'workers';

export class Pool {
  readonly #options: PoolOptions;
  #settings: PoolConfig;
  /** Of the processes: a worker of an earlier one is to be replaced. */
  #generation = 1;
  #pool: SupervisorHandle | undefined;
  #workers: SupervisorHandle | undefined;
  /** How often each worker was started. Counted here rather than by its supervisor, which is a new one each time the pool was down. */
  readonly #incarnations = new Map<string, number>();
  #converging: Promise<void> = Promise.resolve();

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#settings = options.settings;
  }

  get settings(): PoolConfig {
    return this.#settings;
  }

  /** The child for the supervisor of all pools. */
  spec(): ChildSpec {
    const { name, id = `pool:${name}`, status, queue, onEvent } = this.#options;
    return supervisorChild({
      id,
      strategy: 'rest_for_one',
      intensity: Number.POSITIVE_INFINITY,
      onEvent: (event) => {
        onEvent(event);
        if (event.id !== WORKERS) return;
        if (event.type === 'restart_scheduled') status.willRetry(event.delayMs);
      },
      onStarted: (supervisor) => {
        this.#pool = supervisor;
      },
      // With the settings of that moment, whenever it is started anew.
      init: () => ({
        children: [this.#workersSpec(), actorChild<PoolQueueMessage>({ id: 'queue', ...poolQueue(queue) })],
      }),
      children: [],
    });
  }

  /**
   * Puts other settings in force: at once what concerns supervision, queue and deadlines; for processes that were started with
   * others (`replace`) one after the other, each once it has nothing to do.
   */
  reconfigure(settings: PoolConfig, { replace }: { readonly replace: boolean }): void {
    this.#settings = settings;
    if (replace) this.#generation += 1;
    this.#options.tellQueue({ type: 'settings-changed' });
    this.#converge();
    this.#options.tellWorkers({ type: 'settings-changed' }, () => true);
    this.#options.status.workersChanged();
  }

  /** A probe that has become ready is followed by the others. */
  #workersChanged(): void {
    const wasProbing = this.#isProbing;
    this.#options.status.workersChanged();
    if (wasProbing && !this.#isProbing) this.#converge();
  }

  #workersSpec(): ChildSpec {
    const { status, onEvent } = this.#options;
    return supervisorChild({
      id: WORKERS,
      backoff: backoffOf(this.#settings.restart),
      onEvent: (event) => {
        onEvent(event);
        if (event.type === 'supervisor_gave_up') status.gaveUp();
        // It was one too many, and is gone: another of its name may be wanted by now.
        if (event.type === 'child_exited' && !this.#wanted().includes(event.id)) this.#converge();
      },
      init: () => {
        status.probes();
        return { ...this.#flags(), children: this.#wanted().map((id) => this.#workerSpec(id)) };
      },
      onStarted: (supervisor) => {
        this.#workers = supervisor;
      },
      children: [],
    });
  }

  /** A probe that fails is not tried again before the next backoff, which is longer. */
  #flags(): Required<Pick<SupervisorChanges, 'strategy' | 'intensity' | 'periodMs'>> {
    const { strategy, intensity, period } = this.#settings.restart;
    return { strategy, intensity: this.#isProbing ? 0 : intensity, periodMs: period };
  }

  get #isProbing(): boolean {
    return this.#options.status.state === 'probing';
  }

  /** Ids of the workers there should be. */
  #wanted(): string[] {
    const { size, reserve } = this.#settings;
    const count = this.#isProbing ? 1 : size + reserve;
    return Array.from({ length: count }, (_, index) => `${this.#options.name}-${index + 1}`);
  }

  #converge(): void {
    this.#converging = this.#converging
      .then(() => this.#step())
      .catch((error: unknown) => {
        // The supervisor ended meanwhile: the next one starts with what is wanted then.
        if (error instanceof ActorGoneError) return;
        // One that was leaving went while it was being kept after all: it is missing now.
        if (error instanceof ChildCallError && error.code === 'not_found') this.#converge();
        else this.#options.onFault(error);
      });
  }

  async #step(): Promise<void> {
    const workers = this.#workers;
    if (workers === undefined) return;
    await this.#pool?.reconfigure({ children: [this.#workersSpec()] });
    const present = (await workers.whichChildren()).map(({ id }) => id);
    const wanted = this.#wanted();
    const surplus = present.filter((id) => !wanted.includes(id));
    const kept = present.filter((id) => wanted.includes(id)).map((id) => this.#workerSpec(id));
    // Forgotten by its supervisor once it is gone, whatever it goes of.
    const leaving = surplus.map((id): ChildSpec => ({ ...this.#workerSpec(id), restart: 'temporary' }));
    await workers.reconfigure({ ...this.#flags(), children: [...kept, ...leaving] });
    this.#options.tellWorkers({ type: 'recycle' }, (id) => surplus.includes(id));
    for (const id of surplus) await forgetIfGone(workers, id);
    for (const id of wanted.filter((id) => !present.includes(id))) {
      await workers.startChild(this.#workerSpec(id));
    }
    await startLeftBehind(workers);
  }

  #workerSpec(id: string): ChildSpec {
    const { restart } = this.#settings;
    return {
      id,
      restart: restart.type,
      shutdown: restart.shutdown,
      backoff: backoffOf(restart),
      // A query that had to be killed, or a worker that was replaced, says nothing about the health of the pool.
      countsTowardsIntensity: (reason) => reason.kind !== 'error' || isWorkerFailure(reason.error),
      start: ({ actor, exited }) => {
        const incarnation = (this.#incarnations.get(id) ?? 0) + 1;
        this.#incarnations.set(id, incarnation);
        const generation = this.#generation;
        const isOutdated = () => generation !== this.#generation;
        const onChange = () => this.#workersChanged();
        const options = { ...this.#options.worker(this.#settings), id, incarnation, isOutdated, onChange };
        const ref = actor.spawn({ name: id, ...workerActor(options) });
        actor.system.watch(ref, (exit) => {
          const reason: ExitReason = exit.kind === 'crash' ? { kind: 'error', error: exit.error } : SHUTDOWN;
          exited(reason);
        });
        return { stop: () => ref.tell({ type: 'stop' }), kill: () => ref.tell({ type: 'kill' }) };
      },
    };
  }
}

/** A child that waits out a backoff, or was never started again, has nobody who could drain it. */
async function forgetIfGone(workers: SupervisorHandle, id: string): Promise<void> {
  try {
    await workers.deleteChild(id);
  } catch (error) {
    if (!(error instanceof ChildCallError)) throw error;
  }
}

/**
 * Starts those that were ended together with a child that is forgotten by now: they waited for the end of its backoff. Where
 * another one waits out its own they may be that one's, and come back with it.
 */
async function startLeftBehind(workers: SupervisorHandle): Promise<void> {
  const children = (await workers.whichChildren()).toReversed();
  if (children.some(({ child }) => child === 'restarting')) return;
  for (const { id } of children.filter(({ child }) => child === undefined)) {
    await workers.restartChild(id).catch((error: unknown) => {
      // Somebody else has started it, or has forgotten it, since.
      if (!(error instanceof ChildCallError)) throw error;
    });
  }
}

function backoffOf({ backoff }: RestartConfig): BackoffOptions {
  return {
    initialMs: backoff.initial,
    maxMs: backoff.max,
    factor: backoff.factor,
    jitter: backoff.jitter,
    resetAfterMs: backoff.reset_after,
  };
}
