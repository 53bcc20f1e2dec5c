import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  formatDuration,
  formatSize,
  MAX_DURATION_MS,
  parseDuration,
  parseSize,
} from '../../src/config/units.ts';

test('every duration reads back as itself', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: MAX_DURATION_MS }),
      (ms) => parseDuration(formatDuration(ms)) === ms,
    ),
  );
});

test('every size reads back as itself', () => {
  fc.assert(fc.property(fc.maxSafeNat(), (bytes) => parseSize(formatSize(bytes)) === bytes));
});

test('a number and a unit is that many of that unit', () => {
  const units = fc.constantFrom<[string, number]>(['ms', 1], ['s', 1000], ['m', 60_000], ['h', 3_600_000]);
  fc.assert(
    fc.property(fc.nat(500), units, (count, [unit, ms]) => parseDuration(`${count}${unit}`) === count * ms),
  );
});

test.each([
  ['500ms', 500],
  ['10s', 10_000],
  ['5m', 300_000],
  ['6h', 21_600_000],
  ['1d', 86_400_000],
  ['1.5s', 1500],
  ['10 s', 10_000],
  ['0s', 0],
])('%s is %d milliseconds', (text, expected) => expect(parseDuration(text)).toBe(expected));

test.each(['', '10', 's', '-1s', '1.0005s', '10S', '10 seconds', '1h30m', '1e3s', '25d', ' 1s', '1s\n'])(
  '%j is no duration',
  (text) => expect(parseDuration(text)).toBeUndefined(),
);

test('a duration that no timer waits for may be longer', () => {
  expect(parseDuration('30d')).toBeUndefined();
  expect(parseDuration('30d', Number.MAX_SAFE_INTEGER)).toBe(2_592_000_000);
});

test.each([
  ['1MB', 1_000_000],
  ['512MB', 512_000_000],
  ['2GB', 2_000_000_000],
  ['1KB', 1000],
  ['1KiB', 1024],
  ['256MiB', 268_435_456],
  ['2GiB', 2_147_483_648],
  ['1.1GB', 1_100_000_000],
  ['1048576', 1_048_576],
  ['7B', 7],
  ['1gb', 1_000_000_000],
  ['1 GB', 1_000_000_000],
])('%s is %d bytes', (text, expected) => expect(parseSize(text)).toBe(expected));

test.each(['', 'MB', '-1MB', '1.5B', '1XB', '1G B', '0x10', '1e9', '99999999999TB', '1MB '])(
  '%j is no size',
  (text) => expect(parseSize(text)).toBeUndefined(),
);

test('texts are the shortest that are exact', () => {
  expect([0, 1, 1500, 60_000, 90_000, 86_400_000].map(formatDuration)).toEqual([
    '0ms',
    '1ms',
    '1500ms',
    '1m',
    '90s',
    '1d',
  ]);
  expect([0, 7, 1000, 1024, 2e9, 2 ** 31].map(formatSize)).toEqual([
    '0B',
    '7B',
    '1KB',
    '1KiB',
    '2GB',
    '2GiB',
  ]);
});
