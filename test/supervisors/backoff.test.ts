import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  afterRunning,
  type Backoff,
  checkBackoff,
  NO_ATTEMPTS,
  nextDelay,
} from '../../src/supervisors/backoff.ts';

const backoffs: fc.Arbitrary<Backoff> = fc
  .record({
    initialMs: fc.integer({ min: 0, max: 10_000 }),
    more: fc.integer({ min: 0, max: 100_000 }),
    factor: fc.double({ min: 1, max: 10, noNaN: true }),
    jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    resetAfterMs: fc.integer({ min: 0, max: 100_000 }),
  })
  .map(({ more, ...rest }) => checkBackoff('test', { ...rest, maxMs: rest.initialMs + more }));
const chance = fc.double({ min: 0, max: 1, noNaN: true });

function delays(backoff: Backoff, count: number, random: number): number[] {
  let state = NO_ATTEMPTS;
  return Array.from({ length: count }, () => {
    const next = nextDelay(backoff, state, random);
    state = next.state;
    return next.delayMs;
  });
}

describe('backoff', () => {
  test('delays double up to the longest', () => {
    const backoff = checkBackoff('test', { initialMs: 100, maxMs: 1000, jitter: 0 });
    expect(delays(backoff, 6, 0.5)).toEqual([100, 200, 400, 800, 1000, 1000]);
  });

  test('chance takes away at most the share that jitter gives it', () => {
    const backoff = checkBackoff('test', { initialMs: 100, maxMs: 1000, jitter: 0.2 });
    expect(delays(backoff, 2, 0)).toEqual([100, 200]);
    expect(delays(backoff, 2, 1)).toEqual([80, 160]);
  });

  test('a delay is whole, never above maxMs, and never below the share that jitter leaves', () => {
    fc.assert(
      fc.property(backoffs, fc.nat(2000), chance, (backoff, attempt, random) => {
        const { delayMs } = nextDelay(backoff, { attempt }, random);
        expect(Number.isInteger(delayMs)).toBe(true);
        expect(delayMs).toBeLessThanOrEqual(backoff.maxMs);
        expect(delayMs).toBeGreaterThanOrEqual(Math.floor(backoff.initialMs * (1 - backoff.jitter)));
      }),
    );
  });

  test('with the same chance no delay is shorter than the one before', () => {
    fc.assert(
      fc.property(backoffs, chance, (backoff, random) => {
        const some = delays(backoff, 20, random);
        expect(some).toEqual(some.toSorted((a, b) => a - b));
      }),
    );
  });

  test('a child that ran long enough begins anew, one that did not goes on', () => {
    fc.assert(
      fc.property(backoffs, fc.nat(100), fc.nat(200_000), (backoff, attempt, ranMs) => {
        const expected = ranMs >= backoff.resetAfterMs ? NO_ATTEMPTS : { attempt };
        expect(afterRunning(backoff, { attempt }, ranMs)).toEqual(expected);
      }),
    );
  });

  test.each([
    [{ initialMs: -1, maxMs: 1 }, 'backoff.initialMs to be whole milliseconds from 0 to 2147483647, got -1'],
    [
      { initialMs: 1.5, maxMs: 2 },
      'backoff.initialMs to be whole milliseconds from 0 to 2147483647, got 1.5',
    ],
    [{ initialMs: 5, maxMs: 4 }, 'backoff.maxMs to be at least backoff.initialMs (5), got 4'],
    [
      { initialMs: 1, maxMs: 2 ** 31 },
      'backoff.maxMs to be whole milliseconds from 0 to 2147483647, got 2147483648',
    ],
    [{ initialMs: 1, maxMs: 1, factor: 0.5 }, 'backoff.factor to be a number from 1, got 0.5'],
    [{ initialMs: 1, maxMs: 1, jitter: 1.1 }, 'backoff.jitter to be a number from 0 to 1, got 1.1'],
    [{ initialMs: 1, maxMs: 1, resetAfterMs: -1 }, 'backoff.resetAfterMs to be whole milliseconds from 0'],
    [{ initialMs: 1, maxMs: 1, max: 3 }, 'expected options out of initialMs, maxMs'],
    [null, 'expected backoff to be an object, got null'],
  ])('refuses %j', (options, message) => {
    expect(() => checkBackoff('worker', options as never)).toThrow(message);
  });
});
