import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UsageWindow } from '../../src/actors/usage-window.ts';

const WINDOW_MS = 60_000;
const SLICE_MS = 1_000;

test('counts what was used within the window, and forgets it no later than a slice after that', () => {
  const uses = fc.array(fc.record({ after: fc.nat(30_000), amount: fc.integer({ min: 1, max: 9 }) }));
  fc.assert(
    fc.property(uses, (steps) => {
      const window = new UsageWindow(WINDOW_MS);
      const all: { at: number; amount: number }[] = [];
      let now = 0;
      for (const { after, amount } of steps) {
        now += after;
        window.add(amount, now);
        all.push({ at: now, amount });
        const sum = (length: number) =>
          all.reduce((total, use) => (now - use.at < length ? total + use.amount : total), 0);
        expect(window.used(now)).toBeGreaterThanOrEqual(sum(WINDOW_MS));
        expect(window.used(now)).toBeLessThanOrEqual(sum(WINDOW_MS + 2 * SLICE_MS));
      }
    }),
  );
});

test('says after how long there is room, and there is none before', () => {
  const uses = fc.array(fc.record({ after: fc.nat(20_000), amount: fc.integer({ min: 1, max: 9 }) }));
  fc.assert(
    fc.property(uses, fc.integer({ min: 1, max: 40 }), (steps, limit) => {
      const window = new UsageWindow(WINDOW_MS);
      let now = 0;
      for (const { after, amount } of steps) {
        now += after;
        window.add(amount, now);
      }
      const wait = window.waitFor(limit, now);
      expect(wait > 0).toBe(window.used(now) >= limit);
      if (wait === 0) return;
      expect(wait).toBeLessThanOrEqual(WINDOW_MS + 2 * SLICE_MS);
      expect(window.waitFor(limit, now + wait - 1)).toBeGreaterThan(0);
      expect(window.waitFor(limit, now + wait)).toBe(0);
    }),
  );
});
