import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addRestart,
  checkIntensity,
  NO_RESTARTS,
  type RestartHistory,
  type RestartIntensity,
  withinPeriod,
} from '../../src/supervisors/restart-intensity.ts';

/** The index of the restart that was one too many, or -1. */
function gaveUpAt(limit: RestartIntensity, times: readonly number[]): number {
  let history: RestartHistory = NO_RESTARTS;
  return times.findIndex((now) => {
    const added = addRestart(limit, history, now);
    history = added.history;
    return added.exceeded;
  });
}

const times = fc
  .array(fc.nat(5_000), { minLength: 1, maxLength: 40 })
  .map((gaps) => gaps.map((_, index) => gaps.slice(0, index + 1).reduce((sum, gap) => sum + gap, 0)));

describe('restart intensity', () => {
  test('the restart after as many as allowed is one too many', () => {
    expect(gaveUpAt({ intensity: 2, periodMs: 1000 }, [0, 1, 2])).toBe(2);
    expect(gaveUpAt({ intensity: 0, periodMs: 1000 }, [0])).toBe(0);
  });

  test('a restart counts until it is older than the period, and is forgotten then', () => {
    expect(gaveUpAt({ intensity: 1, periodMs: 1000 }, [0, 1000])).toBe(1);
    expect(gaveUpAt({ intensity: 1, periodMs: 1000 }, [0, 1001, 2002])).toBe(-1);
  });

  test('it gives up at the first restart that makes more than the intensity within one period', () => {
    fc.assert(
      fc.property(times, fc.nat(6), fc.integer({ min: 1, max: 20_000 }), (all, intensity, periodMs) => {
        const expected = all.findIndex((now, index) => {
          const inPeriod = all.slice(0, index + 1).filter((at) => at >= now - periodMs);
          return inPeriod.length > intensity;
        });
        expect(gaveUpAt({ intensity, periodMs }, all)).toBe(expected);
      }),
    );
  });

  test('the history never outgrows what the intensity needs', () => {
    fc.assert(
      fc.property(times, fc.nat(6), (all, intensity) => {
        let history: RestartHistory = NO_RESTARTS;
        for (const now of all) {
          const added = addRestart({ intensity, periodMs: 10_000 }, history, now);
          history = added.history;
          if (added.exceeded) break;
        }
        expect(history.length).toBeLessThanOrEqual(intensity + 1);
      }),
    );
  });

  test('without a limit it never gives up, and its history stays bounded', () => {
    const limit = { intensity: Number.POSITIVE_INFINITY, periodMs: 1000 };
    let history: RestartHistory = NO_RESTARTS;
    for (let count = 0; count < 5_000; count += 1) {
      const added = addRestart(limit, history, 0);
      expect(added.exceeded).toBe(false);
      history = added.history;
    }
    expect(history).toHaveLength(1000);
    expect(withinPeriod(limit, history, 1001)).toEqual([]);
  });

  test.each([
    [{ intensity: -1, periodMs: 1 }, 'expected intensity to be a whole number from 0, or Infinity, got -1'],
    [
      { intensity: Number.NaN, periodMs: 1 },
      'expected intensity to be a whole number from 0, or Infinity, got NaN',
    ],
    [{ intensity: 1, periodMs: 0 }, 'expected periodMs to be whole milliseconds from 1 to 2147483647, got 0'],
  ])('refuses %j', (limit, message) => {
    expect(() => checkIntensity('pool', limit)).toThrow(message);
  });
});
