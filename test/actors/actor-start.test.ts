import { describe, expect, test, vi } from 'vitest';
import { ActorStartError, type Behaviour } from '../../src/actors/actor.ts';
import {
  actorHarness,
  nextTurn,
  type ScriptedRef,
  type Step,
  scripted,
  settled,
  unhandledRejections,
  until,
} from '../support/actor-harness.ts';

const boom = new Error('boom');
const throwBoom = () => {
  throw boom;
};

describe('an init that throws', () => {
  test('is tried once, leaves nothing, and frees its name at once', async () => {
    const { system, clock, faults } = actorHarness();
    const init = vi.fn((me) => {
      me.after(10, () => undefined);
      me.watch(bystander, () => () => undefined);
      throw boom;
    });
    const bystander = system.spawn(scripted('bystander'));
    const childExited = vi.fn();
    const parent = system.spawn(scripted('parent', { childExited }));
    const errors: unknown[] = [];
    parent.tell((me) => {
      try {
        me.spawn(scripted('child', { init }));
      } catch (error) {
        errors.push(error);
      }
      me.spawn(scripted('child'));
    });
    await settled(system, parent);
    for (let n = 0; n < 10; n += 1) await nextTurn();
    expect(errors).toEqual([new ActorStartError('/parent/child did not start', { cause: boom })]);
    expect(init).toHaveBeenCalledTimes(1);
    expect(system.stats.live).toBe(3);
    expect(clock.pendingTimers).toBe(0);
    expect(childExited).not.toHaveBeenCalled();
    expect(faults).toEqual([]);
  });

  test('takes down the children it had spawned, and frees its name when they are gone', async () => {
    const { system } = actorHarness();
    const terminate = vi.fn();
    let child: ScriptedRef | undefined;
    const failing = scripted('a', {
      init: (me) => {
        child = me.spawn(scripted('child', { terminate }));
        throw boom;
      },
    });
    expect(() => system.spawn(failing)).toThrow(ActorStartError);
    if (child === undefined) return expect.unreachable();
    await system.exited(child);
    await until(() => system.stats.live === 0);
    expect(terminate).toHaveBeenCalledTimes(1);
    system.spawn(scripted('a'));
  });

  test('after it asked to stop ends one incarnation, not two', () => {
    const { system } = actorHarness();
    const failing = scripted('a', {
      init: (me) => {
        me.stop();
        throw new Error('x');
      },
    });
    expect(() => system.spawn(failing)).toThrow(ActorStartError);
    expect(system.stats.live).toBe(0);
  });

  test('is a crash of the parent that does not catch it', async () => {
    const { system } = actorHarness();
    const parent = system.spawn(scripted('parent'));
    parent.tell((me) => me.spawn(scripted('child', { init: throwBoom })));
    const exit = await system.exited(parent);
    expect(exit.kind === 'crash' && exit.error).toBeInstanceOf(ActorStartError);
  });
});

describe('an asynchronous behaviour', () => {
  test('is not started', () => {
    const { system } = actorHarness();
    const init = async (): Promise<Behaviour<Step>> => ({ receive: () => undefined });
    // @ts-expect-error: a promise is no behaviour
    expect(() => system.spawn<Step>({ name: 'a', init })).toThrow(ActorStartError);
    expect(system.stats.live).toBe(0);
  });

  test('that slipped through ends at its first message, its rejection being a fault', async () => {
    const { system, faults } = actorHarness();
    const receive = async () => {
      await nextTurn();
      throw boom;
    };
    const unhandled = await unhandledRejections(async () => {
      const ref = system.spawn({ name: 'a', init: () => ({ receive }) });
      ref.tell(undefined as never);
      ref.tell(undefined as never);
      const exit = await system.exited(ref);
      expect(exit.kind === 'crash' && exit.error).toBeInstanceOf(TypeError);
      await until(() => faults.length === 2);
    });
    expect(faults[1]).toEqual({ path: '/a', error: boom });
    expect(system.stats.deadLetters).toBe(1);
    expect(unhandled).toEqual([]);
  });
});
