import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  isoDate,
  isoInterval,
  isoTime,
  isoTimestamp,
  isoTimeWithOffset,
} from '../../src/workers/duckdb/iso8601.ts';

/** JavaScript's own dates reach 100 million days either way, and write years as we do. */
const DAYS = 100_000_000;
const DAY_MS = 86_400_000;

describe('ISO 8601 text', () => {
  it('has the same dates as JavaScript, before year 0 and after 9999 too', () => {
    fc.assert(
      fc.property(fc.integer({ min: -DAYS, max: DAYS }), (days) => {
        expect(isoDate(days)).toBe(new Date(days * DAY_MS).toISOString().replace(/T.*/, ''));
      }),
      { numRuns: 2_000 },
    );
  });

  it('has the same timestamps as JavaScript, in every unit', () => {
    fc.assert(
      fc.property(fc.integer({ min: -DAYS * DAY_MS, max: DAYS * DAY_MS }), (millis) => {
        const expected = new Date(millis).toISOString().replace(/\.?0*Z$/, '');
        expect(isoTimestamp(BigInt(millis), 3)).toBe(expected);
        expect(isoTimestamp(BigInt(millis) * 1_000n, 6)).toBe(expected);
        expect(isoTimestamp(BigInt(millis) * 1_000_000n, 9)).toBe(expected);
        const second = Math.floor(millis / 1_000);
        expect(isoTimestamp(BigInt(second), 0)).toBe(new Date(second * 1_000).toISOString().slice(0, -5));
      }),
      { numRuns: 1_000 },
    );
  });

  it('keeps every microsecond and nanosecond of a day', () => {
    const back = (text: string, digits: number): bigint => {
      const [clock = '', fraction = ''] = text.split('.');
      const [hours = 0, minutes = 0, seconds = 0] = clock.split(':').map(Number);
      return BigInt(`${hours * 3_600 + minutes * 60 + seconds}${fraction.padEnd(digits, '0')}`);
    };
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 86_400_000_000n }),
        fc.bigInt({ min: 0n, max: 86_400_000_000_000n }),
        (micros, nanos) => {
          expect(back(isoTime(micros), 6)).toBe(micros);
          expect(back(isoTime(nanos, 9), 9)).toBe(nanos);
        },
      ),
    );
  });

  it('keeps an offset from UTC of any sign to the second', () => {
    fc.assert(
      fc.property(fc.integer({ min: -57_599, max: 57_599 }), (offset) => {
        const text = isoTimeWithOffset(0n, offset).slice('00:00:00'.length);
        const [hours = 0, minutes = 0, seconds = 0] = text.slice(1).split(':').map(Number);
        expect((text.startsWith('-') ? -1 : 1) * (hours * 3_600 + minutes * 60 + seconds) + 0).toBe(
          offset + 0,
        );
      }),
    );
  });

  it('keeps the three parts of an interval and their signs', () => {
    const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    fc.assert(
      fc.property(
        int32,
        int32,
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        (months, days, micros) => {
          const match = /^P(?:(-?\d+)M)?(?:(-?\d+)D)?(?:T(-?)(\d+)(?:\.(\d+))?S)?$/.exec(
            isoInterval(months, days, micros),
          );
          const [, m = '0', d = '0', sign = '', seconds = '0', fraction = ''] = match ?? [];
          expect([Number(m), Number(d), BigInt(`${sign}${seconds}${fraction.padEnd(6, '0')}`)]).toEqual([
            months,
            days,
            micros,
          ]);
        },
      ),
    );
    expect(isoInterval(0, 0, 0n)).toBe('PT0S');
  });

  it('has words for the infinities and no other value', () => {
    expect([isoDate(2 ** 31 - 1), isoDate(1 - 2 ** 31)]).toEqual(['infinity', '-infinity']);
    expect(isoDate(2 ** 31 - 2)).toBe('+5881580-07-10');
    for (const digits of [0, 3, 6, 9] as const) {
      expect(isoTimestamp(2n ** 63n - 1n, digits)).toBe('infinity');
      expect(isoTimestamp(1n - 2n ** 63n, digits)).toBe('-infinity');
    }
    expect(isoTimestamp(2n ** 63n - 2n, 6)).toBe('+294247-01-10T04:00:54.775806');
  });
});
