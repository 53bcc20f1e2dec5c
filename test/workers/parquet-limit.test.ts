/** Where a Parquet file is cut so that it stays within its bytes. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mostWithin } from '../../src/workers/duckdb/parquet-limit.ts';

/** Sizes of 0, 1, 2... rows that never fall. */
const sizes = fc
  .array(fc.nat(1_000), { minLength: 1, maxLength: 500 })
  .map((steps) => steps.map((_, index) => steps.slice(0, index + 1).reduce((sum, step) => sum + step, 0)));

test('no more than fits is ever taken, and all of what fits where the rounds are enough', async () => {
  await fc.assert(
    fc.asyncProperty(sizes, fc.nat(300_000), async (all, limit) => {
      const rows = all.length - 1;
      const taken = await mostWithin(limit, rows, async (count) => all[count] as number);
      const best = all.findLastIndex((size) => size <= limit);
      expect(taken).toBe(best === -1 ? undefined : best);
    }),
  );
});

test('a straight line takes a few rounds, whatever its length', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 2, max: 1e9 }),
      fc.integer({ min: 1, max: 100 }),
      async (rows, step) => {
        let rounds = 0;
        const limit = 500 + Math.floor((rows * step) / 3);
        const taken = await mostWithin(limit, rows, async (count) => {
          rounds += 1;
          return 400 + count * step;
        });
        expect(taken).toBe(Math.min(rows, Math.floor((limit - 400) / step)));
        expect(rounds).toBeLessThanOrEqual(8);
      },
    ),
  );
});

test('a curve that no guess meets ends all the same, within its limit', async () => {
  let rounds = 0;
  const taken = await mostWithin(1_000, 1e9, async (count) => {
    rounds += 1;
    return count === 0 ? 0 : 1_000 + Math.ceil(Math.log2(count));
  });
  expect(taken).toBeLessThanOrEqual(1);
  expect(rounds).toBeLessThanOrEqual(30);
});
