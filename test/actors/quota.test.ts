import { describe, expect, test } from 'vitest';
import { Quotas } from '../../src/actors/quota.ts';
import type { LimitConfig } from '../../src/config/limits.ts';

const ANN = { name: 'ann', role: 'reader' } as const;
const BOB = { name: 'bob', role: 'reader' } as const;
const OPS = { name: 'ops', role: 'operator' } as const;

function quotas(reader: LimitConfig): Quotas {
  return new Quotas(() => ({ reader }));
}

describe('queries in a minute', () => {
  test('are counted for each principal alone, and refused with the time after which there is room', () => {
    const some = quotas({ per_minute: 3 });
    for (const now of [0, 100, 200]) expect(some.submit(ANN, now)).toBe(undefined);
    expect(some.submit(ANN, 300)).toMatchObject({
      code: 'QUOTA_EXCEEDED',
      headers: { 'Retry-After': '61' },
      members: { quota: 'per_minute', limit: 3 },
    });
    expect(some.submit(BOB, 300)).toBe(undefined);
    expect(some.submit(OPS, 300)).toBe(undefined);
    expect(some.submit(ANN, 61_000)).toBe(undefined);
  });

  test('that were refused do not count', () => {
    const some = quotas({ per_minute: 1 });
    some.submit(ANN, 0);
    for (let now = 1_000; now < 61_000; now += 1_000) expect(some.submit(ANN, now)).toBeDefined();
    expect(some.submit(ANN, 61_000)).toBe(undefined);
  });
});

test('results are sent to the end of the one that passes the limit, and no other begins within the window', () => {
  const some = quotas({ result_bytes: { bytes: 1_000, window: 60_000 } });
  some.delivered(ANN, 999, 0);
  expect(some.submit(ANN, 10)).toBe(undefined);
  some.delivered(ANN, 5_000, 30_000);
  expect(some.submit(ANN, 30_001)).toMatchObject({
    ...{ code: 'QUOTA_EXCEEDED', headers: { 'Retry-After': '61' } },
    members: { quota: 'result_bytes', limit: 1_000 },
  });
  expect(some.submit(BOB, 30_001)).toBe(undefined);
  expect(some.submit(ANN, 92_000)).toBe(undefined);
});

test('limits that change are in force at once', () => {
  let reader: LimitConfig = { per_minute: 1, result_bytes: { bytes: 10, window: 1_000 } };
  const some = new Quotas(() => ({ reader }));
  some.submit(ANN, 0);
  some.delivered(ANN, 10, 0);
  reader = { per_minute: 2, result_bytes: { bytes: 11, window: 1_000 } };
  expect(some.submit(ANN, 1)).toBe(undefined);
  reader = {};
  expect(some.submit(ANN, 1)).toBe(undefined);
});

test('of those at a time, more wait, and of those that wait, more are refused', () => {
  const some = quotas({ concurrent: 2, queued: 1 });
  expect([0, 1, 2, 3].map((running) => some.mayBegin(ANN, () => running))).toEqual([
    true,
    true,
    false,
    false,
  ]);
  expect(some.mayBegin(OPS, () => 1_000)).toBe(true);
  expect(some.overcrowded(ANN, 1)).toBe(undefined);
  expect(some.overcrowded(ANN, 2)).toMatchObject({
    ...{ code: 'QUOTA_EXCEEDED', retryable: true },
    members: { quota: 'queued', limit: 1 },
  });
  expect(some.overcrowded(OPS, 1_000)).toBe(undefined);
});
