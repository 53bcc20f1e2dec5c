import { describe, expect, test, vi } from 'vitest';
import type { ActorExit } from '../../src/actors/actor.ts';
import {
  actorHarness,
  deferred,
  type ScriptedRef,
  type Step,
  scripted,
  settled,
} from '../support/actor-harness.ts';

describe('stopping a parent', () => {
  test('takes its children down from the leaves up, the last one first', async () => {
    const { system } = actorHarness();
    const order: string[] = [];
    const node = (name: string, ...children: ReturnType<typeof scripted>[]) =>
      scripted(name, {
        init: (me) => children.map((child) => me.spawn(child)),
        terminate: () => void order.push(name),
      });
    const root = system.spawn(node('root', node('a', node('a1'), node('a2')), node('b', node('b1'))));
    expect(system.stats.live).toBe(6);
    await system.stop(root);
    expect(order).toEqual(['b1', 'b', 'a2', 'a1', 'a', 'root']);
    expect(system.stats.live).toBe(0);
  });

  test('waits for the last words of each child before the next one stops', async () => {
    const { system } = actorHarness();
    const order: string[] = [];
    const gate = deferred();
    const root = system.spawn(
      scripted('root', {
        init: (me) => {
          me.spawn(scripted('first', { terminate: () => void order.push('first') }));
          me.spawn(
            scripted('second', {
              terminate: async () => {
                order.push('second begins');
                await gate.promise;
                order.push('second ends');
              },
            }),
          );
        },
        terminate: () => void order.push('root'),
      }),
    );
    const stopped = system.stop(root);
    expect(order).toEqual(['second begins']);
    expect(system.stats.live).toBe(3);
    gate.resolve();
    await stopped;
    expect(order).toEqual(['second begins', 'second ends', 'first', 'root']);
  });

  test('is possible from the handler of a grandchild, which finishes its message first', async () => {
    const { system } = actorHarness();
    const order: string[] = [];
    let leaf: ScriptedRef | undefined;
    const root = system.spawn(
      scripted('root', {
        init: (me) =>
          me.spawn(
            scripted('middle', {
              init: (it) => {
                leaf = it.spawn(scripted('leaf', { terminate: () => void order.push('leaf') }));
              },
            }),
          ),
        terminate: () => void order.push('root'),
      }),
    );
    leaf?.tell(() => {
      void system.stop(root);
      order.push('message');
    });
    await system.exited(root);
    expect(order).toEqual(['message', 'leaf', 'root']);
  });

  test('refuses children from then on', async () => {
    const { system } = actorHarness();
    const errors: unknown[] = [];
    let spawnLate: () => void = () => undefined;
    const root = system.spawn(
      scripted('root', {
        init: (me) => {
          spawnLate = () => me.spawn(scripted('late'));
        },
        terminate: () => {
          try {
            spawnLate();
          } catch (error) {
            errors.push(error);
          }
        },
      }),
    );
    await system.stop(root);
    expect(errors).toEqual([new Error('/root is stopping and spawns no more')]);
    expect(spawnLate).toThrow('spawns no more');
  });
});

describe('terminate runs exactly once', () => {
  test('when stop is called with work in flight', async () => {
    const { system } = actorHarness();
    const terminate = vi.fn();
    const ref = system.spawn(scripted('a', { terminate }));
    const gate = deferred();
    ref.tell((me) =>
      me.pipe(
        gate.promise,
        () => () => undefined,
        () => () => undefined,
      ),
    );
    for (let n = 0; n < 500; n += 1) ref.tell(() => undefined);
    await settled(system, ref).catch(() => undefined);
    ref.tell(() => undefined);
    const stopped = system.stop(ref);
    gate.resolve();
    await stopped;
    await system.stop(ref);
    expect(terminate.mock.calls).toEqual([[{ kind: 'shutdown' }]]);
  });

  test('when it is stopped several times at once, each call resolving with the one exit', async () => {
    const { system } = actorHarness();
    const gate = deferred();
    const terminate = vi.fn(() => gate.promise);
    const ref = system.spawn(scripted('a', { terminate }));
    const stops = [system.stop(ref), system.stop(ref), system.exited(ref)];
    gate.resolve();
    expect(await Promise.all([...stops, system.stopAll(), system.stop(ref)])).toEqual([
      { kind: 'shutdown' },
      { kind: 'shutdown' },
      { kind: 'shutdown' },
      undefined,
      { kind: 'shutdown' },
    ]);
    expect(terminate).toHaveBeenCalledTimes(1);
  });

  test('when it is stopped from inside receive, and only after that message', async () => {
    const { system } = actorHarness();
    const order: string[] = [];
    const ref = system.spawn(
      scripted('a', { terminate: (exit) => void order.push(`terminate ${exit.kind}`) }),
    );
    ref.tell((me) => {
      me.stop();
      void system.stop(me.self);
      me.stop();
      order.push(`alive ${system.isAlive(me.self)}`);
    });
    ref.tell(() => order.push('never'));
    await system.exited(ref);
    expect(order).toEqual(['alive false', 'terminate normal']);
    expect(system.stats.deadLetters).toBe(1);
  });

  test('when terminate itself asks to stop', async () => {
    const { system } = actorHarness();
    const terminate = vi.fn(() => void system.stop(ref));
    const ref: ScriptedRef = system.spawn(scripted('a', { terminate }));
    await system.stop(ref);
    expect(terminate).toHaveBeenCalledTimes(1);
  });

  test('when it is stopped in its own init, once that has returned', async () => {
    const { system } = actorHarness();
    const order: string[] = [];
    const ref = system.spawn(
      scripted('a', {
        init: (me) => {
          me.stop();
          order.push('init goes on');
        },
        terminate: (exit) => void order.push(exit.kind),
      }),
    );
    expect(await system.exited(ref)).toEqual({ kind: 'normal' });
    expect(order).toEqual(['init goes on', 'normal']);
    expect(system.stats.live).toBe(0);
  });

  test('when its parent is stopped while its init runs', async () => {
    const { system } = actorHarness();
    const terminate = vi.fn();
    const parent = system.spawn(scripted('parent'));
    parent.tell((me) => me.spawn(scripted('child', { init: () => void system.stop(parent), terminate })));
    await system.exited(parent);
    expect(terminate.mock.calls).toEqual([[{ kind: 'shutdown' }]]);
  });
});

test('an actor is alive until its stop is asked for, and its name is taken until it is stopped', async () => {
  const { system } = actorHarness();
  const gate = deferred();
  const ref = system.spawn(scripted('a', { terminate: () => gate.promise }));
  expect(system.isAlive(ref)).toBe(true);
  const stopped = system.stop(ref);
  expect(system.isAlive(ref)).toBe(false);
  expect(() => system.spawn(scripted('a'))).toThrow('running already');
  gate.resolve();
  await stopped;
  system.spawn(scripted('a'));
});

describe('stopAll', () => {
  test('stops the roots in reverse order, each awaited', async () => {
    const { system } = actorHarness();
    const order: string[] = [];
    for (const name of ['first', 'second', 'third']) {
      const terminate = async () => {
        order.push(`${name} begins`);
        await Promise.resolve();
        order.push(`${name} ends`);
      };
      system.spawn(scripted(name, { terminate }));
    }
    await system.stopAll();
    expect(order).toEqual(['third', 'second', 'first'].flatMap((name) => [`${name} begins`, `${name} ends`]));
  });

  test('can be called twice, and no root is spawned after it', async () => {
    const { system } = actorHarness();
    system.spawn(scripted('a'));
    const stopped = Promise.all([system.stopAll(), system.stopAll()]);
    expect(() => system.spawn(scripted('b'))).toThrow('the actor system is stopping');
    await stopped;
    await system.stopAll();
  });
});

test('a child that asks to stop tells its parent that it ended normally', async () => {
  const { system } = actorHarness();
  const exits: [string, ActorExit][] = [];
  const parent = system.spawn(
    scripted('parent', { childExited: (child, exit) => void exits.push([child.path, exit]) }),
  );
  const child = await system.ask<Step, ScriptedRef>(
    parent,
    (reply) => (me) => reply(me.spawn(scripted('child'))),
  );
  child.tell((me) => me.stop());
  await system.exited(child);
  await settled(system, parent);
  expect(exits).toEqual([['/parent/child', { kind: 'normal' }]]);
});
