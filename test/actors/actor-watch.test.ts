import { afterEach, describe, expect, test, vi } from 'vitest';
import { type ActorExit, systemClock } from '../../src/actors/actor.ts';
import { actorHarness, deferred, nextTurn, type Step, scripted, settled } from '../support/actor-harness.ts';

describe('watch', () => {
  test('tells the exit once, after the last words', async () => {
    const { system } = actorHarness();
    const order: string[] = [];
    const ref = system.spawn(scripted('a', { terminate: () => void order.push('terminate') }));
    system.watch(ref, (exit) => void order.push(exit.kind));
    await system.stop(ref);
    await system.stop(ref);
    expect(order).toEqual(['terminate', 'shutdown']);
  });

  test('of a stopped actor tells at once', async () => {
    const { system } = actorHarness();
    const ref = system.spawn(scripted('a'));
    await system.stop(ref);
    const watcher = vi.fn();
    system.watch(ref, watcher)();
    expect(watcher.mock.calls).toEqual([[{ kind: 'shutdown' }]]);
  });

  test('of an actor that is stopping waits until it is stopped', async () => {
    const { system } = actorHarness();
    const gate = deferred();
    const ref = system.spawn(scripted('a', { terminate: () => gate.promise }));
    const stopped = system.stop(ref);
    const watcher = vi.fn();
    system.watch(ref, watcher);
    await nextTurn();
    expect(watcher).not.toHaveBeenCalled();
    gate.resolve();
    await stopped;
    expect(watcher).toHaveBeenCalledTimes(1);
  });

  test('can be cancelled, each one for itself, even from another watcher', async () => {
    const { system } = actorHarness();
    const ref = system.spawn(scripted('a'));
    const watcher = vi.fn();
    const cancelled = vi.fn();
    system.watch(ref, watcher);
    system.watch(ref, watcher)();
    system.watch(ref, () => cancel());
    const cancel = system.watch(ref, cancelled);
    await system.stop(ref);
    expect(watcher).toHaveBeenCalledTimes(1);
    expect(cancelled).not.toHaveBeenCalled();
  });
});

describe('context.watch', () => {
  test('makes the exit a message, of a live, a stopping and a stopped actor alike', async () => {
    const { system } = actorHarness();
    const gate = deferred();
    const live = system.spawn(scripted('live'));
    const stopping = system.spawn(scripted('stopping', { terminate: () => gate.promise }));
    const stopped = system.spawn(scripted('stopped'));
    const exits: string[] = [];
    await system.stop(stopped);
    const ends = [system.stop(stopping)];
    const watcher = system.spawn(
      scripted('watcher', {
        init: (me) => {
          for (const target of [live, stopping, stopped]) {
            me.watch(target, (exit: ActorExit) => () => exits.push(`${target.name} ${exit.kind}`));
          }
        },
      }),
    );
    await settled(system, watcher);
    expect(exits).toEqual(['stopped shutdown']);
    gate.resolve();
    ends.push(system.stop(live));
    await Promise.all(ends);
    await settled(system, watcher);
    expect(exits.sort()).toEqual(['live shutdown', 'stopped shutdown', 'stopping shutdown']);
  });

  test('ends with the watcher: nothing is told to it and nothing holds on to it', async () => {
    const { system } = actorHarness();
    const gate = deferred();
    const live = system.spawn(scripted('live'));
    const stopping = system.spawn(scripted('stopping', { terminate: () => gate.promise }));
    const stopped = system.stop(stopping);
    const message = vi.fn(() => () => undefined);
    const watcher = system.spawn(
      scripted('watcher', {
        init: (me) => {
          me.watch(live, message);
          me.watch(stopping, message);
        },
        terminate: () => late(),
      }),
    );
    let late = () => undefined;
    watcher.tell((me) => {
      late = () => void me.watch(live, message);
    });
    await settled(system, watcher);
    await system.stop(watcher);
    gate.resolve();
    await Promise.all([stopped, system.stop(live)]);
    expect(message).not.toHaveBeenCalled();
    expect(system.stats.deadLetters).toBe(0);
  });

  test('can be cancelled', async () => {
    const { system } = actorHarness();
    const target = system.spawn(scripted('target'));
    const message = vi.fn(() => () => undefined);
    const watcher = system.spawn(scripted('watcher', { init: (me) => me.watch(target, message)() }));
    await system.stop(target);
    await settled(system, watcher);
    expect(message).not.toHaveBeenCalled();
  });

  test('whose message cannot be made is a crash of the watcher, not of the watched', async () => {
    const { system, faults } = actorHarness();
    const target = system.spawn(scripted('target'));
    const message = () => {
      throw new Error('boom');
    };
    const watcher = system.spawn(scripted('watcher', { init: (me) => me.watch(target, message) }));
    expect(await system.stop(target)).toEqual({ kind: 'shutdown' });
    expect(await system.exited(watcher)).toEqual({ kind: 'crash', error: new Error('boom') });
    expect(faults).toEqual([{ path: '/watcher', error: new Error('boom') }]);
  });
});

describe('a timer', () => {
  test('sends its message when its time has come, and not before', async () => {
    const { system, clock } = actorHarness();
    const seen: string[] = [];
    const ref = system.spawn(scripted('a'));
    ref.tell((me) => {
      me.after(20, () => seen.push('later'));
      me.after(10, () => seen.push('sooner'));
    });
    await settled(system, ref);
    clock.advance(9);
    await settled(system, ref);
    expect(seen).toEqual([]);
    clock.advance(11);
    await settled(system, ref);
    expect(seen).toEqual(['sooner', 'later']);
  });

  test('can be cancelled, also after it has fired', async () => {
    const { system, clock } = actorHarness();
    const seen: string[] = [];
    const cancels: (() => void)[] = [];
    const init: Step = (me) => {
      cancels.push(me.after(10, () => seen.push('fired')));
      cancels.push(me.after(20, () => seen.push('cancelled')));
    };
    const ref = system.spawn(scripted('a', { init }));
    clock.advance(10);
    for (const cancel of [...cancels, ...cancels]) cancel();
    expect(clock.pendingTimers).toBe(0);
    clock.advance(10);
    await settled(system, ref);
    expect(seen).toEqual(['fired']);
  });

  test('dies with its actor, and cannot be set by a dying one', async () => {
    const { system, clock } = actorHarness();
    const message = () => expect.unreachable();
    let late = () => undefined;
    const ref = system.spawn(
      scripted('a', {
        init: (me) => {
          late = () => void me.after(10, message);
          me.after(10, message);
        },
        terminate: () => late(),
      }),
    );
    await system.stop(ref);
    late();
    expect(clock.pendingTimers).toBe(0);
    expect(system.stats.deadLetters).toBe(0);
  });
});

describe('a piped promise', () => {
  test('comes back as a message, fulfilled or rejected', async () => {
    const { system } = actorHarness();
    const seen: unknown[] = [];
    const [fulfilled, rejected] = [deferred<string>(), deferred<string>()];
    const see = (value: unknown) => () => seen.push(value);
    const init: Step = (me) => {
      me.pipe(fulfilled.promise, see, see);
      me.pipe(rejected.promise, see, see);
    };
    const ref = system.spawn(scripted('a', { init }));
    fulfilled.resolve('value');
    await nextTurn();
    rejected.reject('error');
    await nextTurn();
    await settled(system, ref);
    expect(seen).toEqual(['value', 'error']);
  });

  test('that outlives its actor is a dead letter, also to the next incarnation', async () => {
    const { system } = actorHarness();
    const gate = deferred();
    const unreachable = () => () => expect.unreachable();
    const init: Step = (me) => me.pipe(gate.promise, unreachable, unreachable);
    await system.stop(system.spawn(scripted('a', { init })));
    const next = system.spawn(scripted('a'));
    gate.resolve();
    await nextTurn();
    await settled(system, next);
    expect(system.stats.deadLetters).toBe(1);
  });

  test('whose message cannot be made is a crash', async () => {
    const { system } = actorHarness();
    const make = () => {
      throw new Error('boom');
    };
    const ref = system.spawn(scripted('a', { init: (me) => me.pipe(Promise.resolve(), make, make) }));
    expect(await system.exited(ref)).toEqual({ kind: 'crash', error: new Error('boom') });
  });
});

describe('the system clock', () => {
  afterEach(() => void vi.useRealTimers());

  test('counts further than setTimeout does', () => {
    vi.useFakeTimers();
    const month = 31 * 24 * 3_600_000;
    const callback = vi.fn();
    systemClock.setTimer(month, callback);
    systemClock.setTimer(Number.POSITIVE_INFINITY, callback)();
    vi.advanceTimersByTime(month - 1);
    expect(callback).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(callback).toHaveBeenCalledTimes(1);
    const cancel = systemClock.setTimer(month, callback);
    vi.advanceTimersByTime(month - 1);
    cancel();
    expect(vi.getTimerCount()).toBe(0);
  });
});
