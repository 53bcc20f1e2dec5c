import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { actorHarness, nextTurn, type Step, scripted, settled, until } from '../support/actor-harness.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Resolves when all of them are garbage; never, if something holds on to one. */
function collected(objects: readonly WeakRef<object>[]): Promise<void> {
  return until(() => {
    collectGarbage();
    return objects.every((object) => object.deref() === undefined);
  });
}

describe('nothing is kept in memory', () => {
  test('of a stopped actor but its reference, while that is held', async () => {
    const { system } = actorHarness();
    const target = system.spawn(scripted('target'));
    const spawn = () => {
      const [state, message, watcher, watched] = [{}, {}, {}, {}];
      const ref = system.spawn(
        scripted('a', { init: (me) => me.watch(target, () => () => watched), terminate: () => void state }),
      );
      ref.tell(() => message);
      system.watch(ref, () => void watcher);
      return { ref, parts: [state, message, watcher, watched].map((part) => new WeakRef(part)) };
    };
    const { ref, parts } = spawn();
    await system.stop(ref);
    await collected(parts);
    expect(system.isAlive(ref)).toBe(false);
  });

  test('of a stopped actor whose reference is dropped', async () => {
    const { system } = actorHarness();
    const parent = system.spawn(scripted('parent'));
    const refs: WeakRef<object>[] = [];
    parent.tell((me) => {
      for (let n = 0; n < 3; n += 1) {
        const ref = me.spawn(scripted(`child-${n}`));
        refs.push(new WeakRef(ref));
        ref.tell((child) => child.stop());
      }
    });
    await until(() => system.stats.live === 1 && refs.length === 3);
    await settled(system, parent);
    await collected(refs);
  });

  test('of what is over for a live actor: fired timers, cancelled watches, answered questions', async () => {
    const { system, clock } = actorHarness();
    const ref = system.spawn(scripted('a'));
    const other = system.spawn(scripted('other'));
    const begin = () => {
      const fired: Step = () => undefined;
      const cancelled = () => () => undefined;
      const watched = () => () => undefined;
      const request = (reply: (value: string) => void) => () => reply('done');
      ref.tell((me) => {
        me.after(10, fired);
        me.watch(ref, cancelled)();
        me.watch(other, watched);
      });
      const answer = system.ask<Step, string>(ref, request);
      return { answer, parts: [fired, cancelled, watched, request].map((part) => new WeakRef(part)) };
    };
    const { answer, parts } = begin();
    await answer;
    clock.advance(10);
    await system.stop(other);
    await settled(system, ref);
    await collected(parts);
  });

  test('of handled messages, even if the mailbox never runs empty', async () => {
    const { system } = actorHarness();
    const handled: WeakRef<object>[] = [];
    let goesOn = true;
    const ref = system.spawn(scripted('a'));
    const feed = () => {
      const message: Step = () => {
        if (handled.length < 10) handled.push(new WeakRef(message));
        if (goesOn) feed();
      };
      ref.tell(message);
    };
    for (let n = 0; n < 5; n += 1) feed();
    await until(() => handled.length === 10);
    await nextTurn();
    await collected(handled);
    goesOn = false;
    await settled(system, ref);
  });
});
