import { describe, expect, it } from 'vitest';
import { limitOf } from '../../src/config/limits.ts';

const ANN = { name: 'ann', role: 'reader' } as const;
const BOB = { name: 'bob', role: 'reader' } as const;
const OPS = { name: 'ops', role: 'operator' } as const;
const NOBODY = { name: 'anonymous', role: 'operator' } as const;

describe('a limit of a principal', () => {
  const limits = {
    ann: { concurrent: 1 },
    bob: { crash_budget: { crashes: 9, window: 9 } },
    reader: { crash_budget: { crashes: 5, window: 5 } },
    operator: { crash_budget: { crashes: 7, window: 7 } },
  };

  it('is the one under its name, or else that of its role', () => {
    expect(limitOf(limits, BOB, 'crash_budget')).toEqual({ crashes: 9, window: 9 });
    expect(limitOf(limits, ANN, 'crash_budget')).toEqual({ crashes: 5, window: 5 });
    expect(limitOf(limits, OPS, 'crash_budget')).toEqual({ crashes: 7, window: 7 });
    expect(limitOf(limits, ANN, 'concurrent')).toBe(1);
    expect(limitOf({}, ANN, 'crash_budget')).toBeUndefined();
    expect(limitOf({ reader: limits.reader }, OPS, 'crash_budget')).toBeUndefined();
  });

  it('of who is not authenticated is the one under that name alone', () => {
    expect(limitOf(limits, NOBODY, 'crash_budget')).toBeUndefined();
    expect(limitOf({ anonymous: limits.bob }, NOBODY, 'crash_budget')).toEqual({ crashes: 9, window: 9 });
  });
});
