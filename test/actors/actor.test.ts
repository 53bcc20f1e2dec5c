import { describe, expect, test } from 'vitest';
import { ActorSystem, type AnyActorRef } from '../../src/actors/actor.ts';
import { actorHarness, type Step, scripted, settled, until } from '../support/actor-harness.ts';

describe('messages', () => {
  test('are handled in the order they were told', async () => {
    const { system } = actorHarness();
    const seen: number[] = [];
    const ref = system.spawn({ name: 'a', init: () => ({ receive: (n: number) => void seen.push(n) }) });
    const told = Array.from({ length: 1_000 }, (_, n) => n);
    for (const n of told) expect(ref.tell(n)).toBe('accepted');
    await until(() => seen.length === told.length);
    expect(seen).toEqual(told);
  });

  test('of one actor never run two at once, whatever a handler does', async () => {
    const { system } = actorHarness();
    let depth = 0;
    let deepest = 0;
    let handled = 0;
    const run = (work: () => unknown) => {
      depth += 1;
      deepest = Math.max(deepest, depth);
      work();
      handled += 1;
      depth -= 1;
    };
    const alone = (step: Step): Step => {
      return (me) => run(() => step(me));
    };
    const ref = system.spawn(scripted('a', { childExited: () => run(() => undefined) }));
    for (let n = 0; n < 300; n += 1) {
      ref.tell(alone((me) => me.self.tell(alone(() => undefined))));
      ref.tell(
        alone((me) =>
          me.pipe(
            Promise.resolve(),
            () => alone(() => undefined),
            () => () => undefined,
          ),
        ),
      );
      ref.tell(alone((me) => me.spawn(scripted(`child-${n}`)).tell((child) => child.fail(new Error('x')))));
      ref.tell(alone((me) => system.watch(me.self, () => undefined)));
    }
    await until(() => handled === 300 * 7);
    expect(deepest).toBe(1);
  });

  test('told while the behaviour is being built are handled after it is', async () => {
    const { system } = actorHarness();
    const order: string[] = [];
    const ref = system.spawn(
      scripted('a', {
        init: (me) => {
          me.self.tell(() => order.push('message'));
          order.push('init');
        },
      }),
    );
    await settled(system, ref);
    expect(order).toEqual(['init', 'message']);
  });

  test('of a busy actor leave other actors their turn', async () => {
    const { system } = actorHarness();
    const order: string[] = [];
    const busy = system.spawn(scripted('busy'));
    const other = system.spawn(scripted('other'));
    for (let n = 0; n < 1_000; n += 1) busy.tell(() => undefined);
    busy.tell(() => order.push('busy'));
    other.tell(() => order.push('other'));
    await until(() => order.length === 2);
    expect(order).toEqual(['other', 'busy']);
  });

  test('are handled on while a promise that never settles is piped', async () => {
    const { system } = actorHarness();
    const ref = system.spawn(scripted('a'));
    const never = new Promise<void>(() => undefined);
    ref.tell((me) =>
      me.pipe(
        never,
        () => () => undefined,
        () => () => undefined,
      ),
    );
    await settled(system, ref);
    expect(await system.stop(ref)).toEqual({ kind: 'shutdown' });
  });

  test('left in the mailbox of an actor that stops are dead letters', async () => {
    const { system } = actorHarness();
    const ref = system.spawn(scripted('a'));
    for (let n = 0; n < 5; n += 1) ref.tell(() => expect.unreachable());
    const stopped = system.stop(ref);
    expect(system.stats.deadLetters).toBe(5);
    expect(ref.tell(() => expect.unreachable())).toBe('dead');
    expect(system.stats.deadLetters).toBe(6);
    await stopped;
  });
});

describe('a full mailbox', () => {
  test('refuses, counts what it refused, and accepts again once there is room', async () => {
    const { system } = actorHarness();
    const ref = system.spawn(scripted('a', { mailbox: 3 }));
    const deliveries = Array.from({ length: 5 }, () => ref.tell(() => undefined));
    expect(deliveries).toEqual(['accepted', 'accepted', 'accepted', 'full', 'full']);
    expect(system.stats.refused).toBe(2);
    await until(() => ref.tell(() => undefined) === 'accepted');
    await settled(system, ref);
  });

  test('lets exits of children, timers, watched exits and piped results pass', async () => {
    const { system, clock } = actorHarness();
    const seen: string[] = [];
    const saying = (word: string) => (): Step => () => seen.push(word);
    const target = system.spawn(scripted('target'));
    const ref = system.spawn(
      scripted('a', {
        mailbox: 1,
        childExited: (child, exit) => seen.push(`${child.name} ${exit.kind}`),
        init: (me) => {
          me.after(10, saying('timer')());
          me.watch(target, saying('watched'));
          me.pipe(Promise.resolve(), saying('piped'), saying('rejected'));
          const child = me.spawn(scripted('child'));
          child.tell((it) => it.stop());
        },
      }),
    );
    const child = system.exited(target).then(() => undefined);
    ref.tell(() => seen.push('told'));
    expect(ref.tell(() => undefined)).toBe('full');
    clock.advance(10);
    await system.stop(target);
    await child;
    await until(() => seen.length === 5);
    expect(seen.sort()).toEqual(['child normal', 'piped', 'timer', 'told', 'watched']);
    expect(system.stats).toEqual({ live: 1, deadLetters: 0, refused: 1 });
  });

  test.each([0, -1, Number.NaN])('of %d messages is no mailbox', (mailbox) => {
    const { system } = actorHarness();
    expect(() => system.spawn(scripted('a', { mailbox }))).toThrow(RangeError);
    expect(system.stats.live).toBe(0);
  });
});

describe('a reference', () => {
  test('of an earlier incarnation never reaches the later one', async () => {
    const { system } = actorHarness();
    const earlier = system.spawn(scripted('a'));
    await system.stop(earlier);
    const later = system.spawn(scripted('a'));
    expect(later.path).toBe(earlier.path);
    expect(later.incarnation).toBeGreaterThan(earlier.incarnation);
    expect(earlier.tell(() => expect.unreachable())).toBe('dead');
    await settled(system, later);
    expect(system.stats.deadLetters).toBe(1);
    await system.stop(earlier);
    expect([system.isAlive(earlier), system.isAlive(later)]).toEqual([false, true]);
  });

  test('names the way from the root', async () => {
    const { system } = actorHarness();
    const root = system.spawn(scripted('root'));
    const path = await system.ask<Step, string>(
      root,
      (reply) => (me) => reply(me.spawn(scripted('child')).path),
    );
    expect(path).toBe('/root/child');
  });

  test('cannot share its name with a live sibling', () => {
    const { system } = actorHarness();
    system.spawn(scripted('a'));
    expect(() => system.spawn(scripted('a'))).toThrow('an actor named a is running already');
    expect(system.stats.live).toBe(1);
  });

  test('of another system is refused, and told nothing', async () => {
    const { system } = actorHarness();
    const elsewhere = new ActorSystem();
    const foreign = elsewhere.spawn(scripted('a'));
    let told = false;
    const request = () => () => {
      told = true;
    };
    await expect(system.ask(foreign, request)).rejects.toThrow(TypeError);
    expect(() => system.stop(foreign as AnyActorRef)).toThrow(TypeError);
    await settled(elsewhere, foreign);
    expect(told).toBe(false);
    await elsewhere.stopAll();
  });
});
