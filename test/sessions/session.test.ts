import { expect, test } from 'vitest';
import { MOST_DEATHS, Session } from '../../src/sessions/session.ts';
import type { Slot } from '../../src/sessions/slots.ts';

const session = (): Session =>
  new Session({
    ...{ slot: { id: 's-1' } as Slot, name: undefined, owner: 'ann', sources: [], createdAt: 0, now: 1_000 },
    idleTimeoutMs: 500,
    expiresAt: 10_000,
  });

test('what its worker had in memory is lost once, however often the next one fails to start', () => {
  const one = session();
  one.volatile = ['variable v'];
  expect(one.workerDied()).toBe(false);
  expect(one.lost).toEqual(['variable v']);
  one.workerDied();
  expect(one.lost).toEqual(['variable v']);
  one.workerReady();
  one.workerDied();
  expect(one.lost).toEqual([]);
});

test('a worker that dies again and again without ever being ready is given up, one that was ready in between is not', () => {
  const one = session();
  for (let death = 0; death < 3 * MOST_DEATHS; death += 1) {
    expect(one.workerDied()).toBe(false);
    one.workerReady();
  }
  for (let death = 0; death < MOST_DEATHS; death += 1) expect(one.workerDied()).toBe(false);
  expect(one.workerDied()).toBe(true);
});

test('it is idle from its last query on, not while one is with it, and expires all the same', () => {
  const one = session();
  expect(one.due(1_100)).toEqual({ why: 'idle', at: 1_500 });
  one.pending = 1;
  expect(one.due(2_000)).toEqual({ why: 'idle', at: 2_500 });
  expect(one.due(9_900)).toEqual({ why: 'expired', at: 10_000 });
  one.pending = 0;
  one.usedAt = 9_000;
  expect(one.due(9_100)).toEqual({ why: 'idle', at: 9_500 });
});

test('no state follows another that was not declared to', () => {
  const one = session();
  one.to('ready');
  expect(() => one.to('ended')).toThrow(/no transition|ready/);
  one.to('ending');
  expect(one.isLive).toBe(false);
  expect(() => one.to('recovering')).toThrow();
});
