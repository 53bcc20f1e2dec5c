import { describe, expect, test } from 'vitest';
import { giveBack, lend } from '../../src/workers/read-buffers.ts';

describe('a buffer for a read', () => {
  test('is lent again once it, or a part of it, has been given back', () => {
    const buffer = lend();
    giveBack(buffer.subarray(3, 5));
    expect(lend().buffer).toBe(buffer.buffer);
  });

  test("is nobody else's before", () => {
    const lending = Array.from({ length: 100 }, lend);
    expect(new Set(lending.map(({ buffer }) => buffer)).size).toBe(100);
  });

  test('is lent to one only, though it was given back twice', () => {
    const buffer = lend();
    giveBack(buffer);
    giveBack(buffer);
    expect(lend().buffer).not.toBe(lend().buffer);
  });

  test('is never one of another origin', () => {
    const own = Buffer.alloc(64 * 1024);
    giveBack(own);
    expect(lend().buffer).not.toBe(own.buffer);
  });

  test('is kept for so many only', () => {
    const many = Array.from({ length: 1_000 }, lend);
    for (const buffer of many) giveBack(buffer);
    const before = new Set(many.map(({ buffer }) => buffer));
    const again = Array.from({ length: 1_000 }, lend).filter(({ buffer }) => before.has(buffer));
    expect(again.length).toBeGreaterThan(0);
    expect(again.length).toBeLessThan(100);
  });
});
