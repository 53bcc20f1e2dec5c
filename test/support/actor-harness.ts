import { expect, onTestFinished } from 'vitest';
import {
  type ActorContext,
  type ActorOptions,
  type ActorRef,
  ActorSystem,
  type Behaviour,
} from '../../src/actors/actor.ts';
import { ManualClock } from './manual-clock.ts';

/** A message that is what the actor shall do: tests say it where they need it. */
export type Step = (context: ActorContext<Step>) => unknown;

export type ScriptedRef = ActorRef<Step>;

export interface Script extends Omit<Behaviour<Step>, 'receive'> {
  readonly mailbox?: number;
  readonly init?: Step;
}

/** An actor that does what it is told. */
export function scripted(name: string, { mailbox, init, ...handlers }: Script = {}): ActorOptions<Step> {
  return {
    name,
    ...(mailbox === undefined ? {} : { mailbox }),
    init: (context) => {
      init?.(context);
      return { ...handlers, receive: (step) => void step(context) };
    },
  };
}

/** A system on a manual clock. When the test ends, everything is stopped and no actor or timer may be left. */
export function actorHarness() {
  const clock = new ManualClock();
  const faults: { path: string; error: unknown }[] = [];
  const system = new ActorSystem({ clock, onFault: (path, error) => faults.push({ path, error }) });
  onTestFinished(async () => {
    await system.stopAll();
    expect(system.stats.live).toBe(0);
    expect(clock.pendingTimers).toBe(0);
    // An expectation that failed inside an actor only crashed that actor so far.
    expect(faults.filter(({ error }) => error instanceof Error && error.name === 'AssertionError')).toEqual(
      [],
    );
  });
  return { clock, faults, system };
}

/** Resolves once an actor has handled all it had been told before. */
export function settled(system: ActorSystem, ref: ScriptedRef): Promise<void> {
  return system.ask<Step, void>(ref, (reply) => () => reply());
}

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Polls between turns of the event loop; a condition that never holds is the test's timeout. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn();
}

/** The rejections nobody handles while `work` runs. */
export async function unhandledRejections(work: () => Promise<unknown>): Promise<unknown[]> {
  const seen: unknown[] = [];
  const listener = (error: unknown) => seen.push(error);
  process.on('unhandledRejection', listener);
  try {
    await work();
    await nextTurn();
  } finally {
    process.off('unhandledRejection', listener);
  }
  return seen;
}

export function deferred<Value = void>() {
  let resolve: (value: Value) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<Value>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
