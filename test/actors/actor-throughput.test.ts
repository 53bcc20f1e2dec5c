import { expect, test } from 'vitest';
import type { ActorRef } from '../../src/actors/actor.ts';
import { actorHarness, type Step, scripted } from '../support/actor-harness.ts';

test('a message to a parent of 10,000 children costs what it costs a parent of 10', async () => {
  const { system } = actorHarness();
  const parentOf = (children: number) =>
    system.spawn(
      scripted(`parent-of-${children}`, {
        init: (me) => {
          for (let n = 0; n < children; n += 1) me.spawn(scripted(`child-${n}`));
        },
      }),
    );
  /** One message after the other, so that each takes a turn of its own. */
  const cost = async (ref: ActorRef<Step>) => {
    const begin = performance.now();
    for (let n = 0; n < 500; n += 1) await system.ask<Step, void>(ref, (reply) => () => reply());
    return performance.now() - begin;
  };
  const [few, many] = [parentOf(10), parentOf(10_000)];
  expect(system.stats.live).toBe(10_012);
  // The best of several rounds, by turns: whatever else the machine does then is in neither of them.
  let [cheapest, dearest] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < 8; round += 1) {
    cheapest = Math.min(cheapest, await cost(few));
    dearest = Math.min(dearest, await cost(many));
  }
  // A thousand times as many children, were they copied or searched.
  expect(dearest / cheapest).toBeLessThan(25);
});

test('a message in a long mailbox costs what it costs in a short one', async () => {
  const { system } = actorHarness();
  const handle = async (messages: number, times: number) => {
    let handled = 0;
    const ref = system.spawn(
      scripted(`${messages}`, {
        mailbox: messages,
      }),
    );
    const begin = performance.now();
    for (let time = 0; time < times; time += 1) {
      for (let n = 1; n < messages; n += 1) ref.tell(() => (handled += 1));
      await system.ask<Step, void>(ref, (reply) => () => reply());
    }
    const elapsed = performance.now() - begin;
    expect(handled).toBe((messages - 1) * times);
    await system.stop(ref);
    return elapsed;
  };
  let [short, long] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < 3; round += 1) {
    short = Math.min(short, await handle(1_000, 200));
    long = Math.min(long, await handle(200_000, 1));
  }
  // Two hundred times as long a mailbox, were it copied or searched.
  expect(long / short).toBeLessThan(25);
});
