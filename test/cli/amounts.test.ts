import { expect, test } from 'vitest';
import { bytes, duration } from '../../src/cli/amounts.ts';

test.each([
  [0, '0 ms'],
  [999.4, '999 ms'],
  [1_000, '1 s'],
  [9_990, '9.9 s'],
  [59_999, '59 s'],
  [60_000, '1 min'],
  [3_599_000, '59 min 59 s'],
  [12_000_000, '3 h 20 min'],
  [187_200_000, '2 d 4 h'],
])('%d ms is read as %s', (ms, text) => {
  expect(duration(ms)).toBe(text);
});

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1_540, '1.5 kB'],
  [42_000_000, '42 MB'],
  [1_230_000_000, '1.2 GB'],
  [5e15, '5000 TB'],
])('%d bytes are read as %s', (count, text) => {
  expect(bytes(count)).toBe(text);
});
