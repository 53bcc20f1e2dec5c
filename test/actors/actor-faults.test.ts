import { describe, expect, test, vi } from 'vitest';
import { type ActorExit, ActorSystem } from '../../src/actors/actor.ts';
import {
  actorHarness,
  deferred,
  type ScriptedRef,
  scripted,
  settled,
  unhandledRejections,
  until,
} from '../support/actor-harness.ts';

const boom = new Error('boom');
const crash: ActorExit = { kind: 'crash', error: boom };
const throwBoom = () => {
  throw boom;
};

describe('a crash', () => {
  test('is told to the parent with the error that was thrown', async () => {
    const { system, faults } = actorHarness();
    const exits: [string, ActorExit][] = [];
    const parent = system.spawn(
      scripted('parent', {
        init: (me) => me.spawn(scripted('child')).tell(throwBoom),
        childExited: (child, exit) => void exits.push([child.name, exit]),
      }),
    );
    await until(() => exits.length > 0);
    expect(exits).toEqual([['child', crash]]);
    expect(system.isAlive(parent)).toBe(true);
    expect(faults).toEqual([]);
  });

  test('that no parent handles escalates, and is a fault of the root', async () => {
    const { system, faults } = actorHarness();
    const order: string[] = [];
    const terminate = (name: string) => ({ terminate: () => void order.push(name) });
    const root = system.spawn(
      scripted('root', {
        ...terminate('root'),
        init: (me) => {
          me.spawn(scripted('bystander', terminate('bystander')));
          me.spawn(
            scripted('middle', {
              ...terminate('middle'),
              init: (it) => it.spawn(scripted('leaf', terminate('leaf'))).tell(throwBoom),
            }),
          );
        },
      }),
    );
    expect(await system.exited(root)).toEqual(crash);
    expect(order).toEqual(['leaf', 'middle', 'bystander', 'root']);
    expect(faults).toEqual([{ path: '/root', error: boom }]);
  });

  test('in the middle of a batch leaves the rest as dead letters and says last words once', async () => {
    const { system } = actorHarness();
    const seen: string[] = [];
    const terminate = vi.fn();
    const ref = system.spawn(scripted('a', { terminate }));
    ref.tell(() => seen.push('before'));
    ref.tell(throwBoom);
    for (let n = 0; n < 3; n += 1) ref.tell(() => seen.push('after'));
    await system.exited(ref);
    expect(seen).toEqual(['before']);
    expect(system.stats.deadLetters).toBe(3);
    expect(terminate.mock.calls).toEqual([[crash]]);
  });

  test('after stop in the same message is a crash all the same', async () => {
    const { system, faults } = actorHarness();
    const terminate = vi.fn();
    const ref = system.spawn(scripted('a', { terminate }));
    ref.tell((me) => {
      me.stop();
      throw boom;
    });
    expect(await system.exited(ref)).toEqual(crash);
    expect(terminate.mock.calls).toEqual([[crash]]);
    expect(faults).toEqual([{ path: '/a', error: boom }]);
  });

  test('can be asked for with fail', async () => {
    const { system } = actorHarness();
    const ref = system.spawn(scripted('a'));
    ref.tell((me) => me.fail(boom));
    expect(await system.exited(ref)).toEqual(crash);
  });

  test('in childExited ends the parent', async () => {
    const { system, faults } = actorHarness();
    const parent = system.spawn(
      scripted('parent', {
        init: (me) => me.spawn(scripted('child')).tell((child) => child.stop()),
        childExited: throwBoom,
      }),
    );
    expect(await system.exited(parent)).toEqual(crash);
    expect(faults).toEqual([{ path: '/parent', error: boom }]);
  });

  test('frees the name before the parent hears of it, so that it can start the next incarnation', async () => {
    const { system } = actorHarness();
    const restarted = deferred<ScriptedRef>();
    let first: ScriptedRef | undefined;
    system.spawn({
      name: 'supervisor',
      init: (me) => {
        first = me.spawn(scripted('child'));
        first.tell(throwBoom);
        const childExited = () => restarted.resolve(me.spawn(scripted('child')));
        return { receive: () => undefined, childExited };
      },
    });
    const second = await restarted.promise;
    expect(second.path).toBe(first?.path);
    expect(second.incarnation).toBeGreaterThan(first?.incarnation ?? Number.NaN);
    await settled(system, second);
  });

  test.each(['normal', 'shutdown'])('is not what a %s exit of a child is', async (kind) => {
    const { system } = actorHarness();
    const parent = system.spawn(scripted('parent'));
    parent.tell((me) => {
      const child = me.spawn(scripted('child'));
      if (kind === 'shutdown') void system.stop(child);
      else child.tell((it) => it.stop());
    });
    await until(() => system.stats.live === 1);
    await settled(system, parent);
  });
});

describe('a crash whose parent is ending is a fault', () => {
  test('when it happens while the parent waits for another child', async () => {
    const { system, faults } = actorHarness();
    const gate = deferred();
    let first: ScriptedRef | undefined;
    const parent = system.spawn(
      scripted('parent', {
        init: (me) => {
          first = me.spawn(scripted('first'));
          me.spawn(scripted('second', { terminate: () => gate.promise }));
        },
        childExited: () => expect.unreachable(),
      }),
    );
    const stopped = system.stop(parent);
    first?.tell(throwBoom);
    await until(() => faults.length > 0);
    gate.resolve();
    await stopped;
    expect(faults).toEqual([{ path: '/parent/first', error: boom }]);
  });

  test('when it was still in the mailbox of the parent', async () => {
    const { system, faults } = actorHarness();
    let child: ScriptedRef | undefined;
    const parent = system.spawn(
      scripted('parent', {
        init: (me) => {
          child = me.spawn(scripted('child'));
        },
        childExited: () => expect.unreachable(),
      }),
    );
    if (child === undefined) return expect.unreachable();
    system.watch(child, () => void system.stop(parent));
    child.tell(throwBoom);
    await system.exited(parent);
    expect(faults).toEqual([{ path: '/parent/child', error: boom }]);
  });
});

describe('what is thrown by', () => {
  test.each([
    ['a synchronous terminate', throwBoom],
    ['an asynchronous terminate', () => Promise.reject(boom)],
  ])('%s is a fault, and the actor is stopped all the same', async (_, terminate) => {
    const { system, faults } = actorHarness();
    const unhandled = await unhandledRejections(async () => {
      const ref = system.spawn(scripted('a', { terminate }));
      expect(await system.stop(ref)).toEqual({ kind: 'shutdown' });
    });
    expect(faults).toEqual([{ path: '/a', error: boom }]);
    expect(unhandled).toEqual([]);
  });

  test('a watcher is a fault, and the other watchers hear of the exit all the same', async () => {
    const { system, faults } = actorHarness();
    const other = vi.fn();
    const unhandled = await unhandledRejections(async () => {
      const ref = system.spawn(scripted('a'));
      system.watch(ref, throwBoom);
      system.watch(ref, other);
      await system.stop(ref);
      system.watch(ref, throwBoom);
    });
    expect(other).toHaveBeenCalledTimes(1);
    expect(faults).toEqual([
      { path: '/a', error: boom },
      { path: '/a', error: boom },
    ]);
    expect(unhandled).toEqual([]);
  });

  test('the fault handler is dropped, and the actor is stopped all the same', async () => {
    const system = new ActorSystem({ onFault: throwBoom });
    const unhandled = await unhandledRejections(async () => {
      const ref = system.spawn(scripted('a', { terminate: throwBoom }));
      system.watch(ref, throwBoom);
      ref.tell(throwBoom);
      expect(await system.exited(ref)).toEqual(crash);
      await system.stopAll();
    });
    expect(system.stats.live).toBe(0);
    expect(unhandled).toEqual([]);
  });
});
