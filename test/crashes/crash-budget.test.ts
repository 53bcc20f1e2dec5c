import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CrashBudgetConfig, CrashBudgets, type PoolRestarts } from '../../src/crashes/crash-budget.ts';
import type { PrincipalIdentity } from '../../src/principal.ts';
import { addRestart, NO_RESTARTS } from '../../src/supervisors/restart-intensity.ts';

const ANN: PrincipalIdentity = { name: 'ann', role: 'reader' };
const BOB: PrincipalIdentity = { name: 'bob', role: 'reader' };
const OPS: PrincipalIdentity = { name: 'ops', role: 'operator' };

function budgets(
  budget: CrashBudgetConfig = { crashes: 3, window: 1_000 },
  restarts: PoolRestarts = { intensity: 10, period: 100 },
): CrashBudgets {
  return new CrashBudgets({
    budgetOf: ({ role }) => (role === 'reader' ? budget : undefined),
    restartsOf: () => restarts,
  });
}

const crashed = { pool: 'a', cause: 'crash' } as const;
const killed = { pool: 'a', cause: 'killed' } as const;

describe('a principal', () => {
  it('waits until the oldest death leaves its window, once it has spent its budget', () => {
    const one = budgets();
    for (const now of [0, 200, 400]) {
      expect(one.waitFor(ANN, 'a', now)).toBe(0);
      one.record(ANN, crashed, now);
    }
    expect(one.allowance(ANN, 'a', 400)).toBe(0);
    expect(one.waitFor(ANN, 'a', 400)).toBe(600);
    expect(one.waitFor(ANN, 'b', 400)).toBe(600);
    expect(one.waitFor(ANN, 'a', 999)).toBe(1);
    expect(one.waitFor(ANN, 'a', 1_000)).toBe(0);
    expect(one.allowance(ANN, 'a', 1_000)).toBe(1);
  });

  it('pays for every worker that is lost, killed ones too', () => {
    const one = budgets();
    one.record(ANN, killed, 0);
    one.record(ANN, { pool: 'b', cause: 'unresponsive' }, 0);
    expect(one.allowance(ANN, 'a', 0)).toBe(1);
    one.record(ANN, crashed, 0);
    expect(one.allowance(ANN, 'a', 0)).toBe(0);
  });

  it('waits for as many deaths to leave as are too many', () => {
    const one = budgets();
    for (const now of [0, 10, 20, 30, 40]) one.record(ANN, crashed, now);
    expect(one.waitFor(ANN, 'a', 500)).toBe(1_020 - 500);
  });

  it('pays for nobody else', () => {
    const one = budgets();
    for (const now of [0, 0, 0]) one.record(ANN, crashed, now);
    expect(one.allowance(BOB, 'a', 0)).toBe(3);
    expect(one.waitFor(BOB, 'a', 0)).toBe(0);
  });

  it('without a budget may cost what it will', () => {
    const one = budgets();
    for (let index = 0; index < 100; index += 1) one.record(OPS, crashed, 0);
    expect(one.allowance(OPS, 'a', 0)).toBe(Number.POSITIVE_INFINITY);
    expect(one.waitFor(OPS, 'a', 0)).toBe(0);
  });

  it('has the budget of the moment', () => {
    let budget: CrashBudgetConfig | undefined = { crashes: 1, window: 100 };
    const one = new CrashBudgets({ budgetOf: () => budget, restartsOf: () => undefined });
    one.record(ANN, crashed, 0);
    expect(one.allowance(ANN, 'a', 0)).toBe(0);
    budget = { crashes: 3, window: 100 };
    expect(one.allowance(ANN, 'a', 0)).toBe(2);
    budget = undefined;
    expect(one.allowance(ANN, 'a', 0)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('in a pool', () => {
  it('a principal has all restarts but one', () => {
    const one = budgets({ crashes: 100, window: 1_000 }, { intensity: 5, period: 100 });
    for (const now of [0, 10, 20]) one.record(ANN, crashed, now);
    expect(one.allowance(ANN, 'a', 20)).toBe(1);
    one.record(ANN, crashed, 30);
    expect(one.allowance(ANN, 'a', 30)).toBe(0);
    expect(one.waitFor(ANN, 'a', 30)).toBe(71);
    expect(one.waitFor(ANN, 'b', 30)).toBe(0);
    expect(one.allowance(ANN, 'a', 101)).toBe(1);
  });

  it('what was killed does not count, as it does not with the supervisor', () => {
    const one = budgets({ crashes: 100, window: 1_000 }, { intensity: 2, period: 100 });
    one.record(ANN, killed, 0);
    expect(one.allowance(ANN, 'a', 0)).toBe(1);
  });

  it.each([0, 1, 2])('it has one where the intensity is %d', (intensity) => {
    expect(budgets(undefined, { intensity, period: 100 }).allowance(ANN, 'a', 0)).toBe(1);
  });

  it('nobody who keeps to the allowance makes the supervisor give up', () => {
    const step = fc.record({
      after: fc.nat(60),
      running: fc.integer({ min: 1, max: 8 }),
      kills: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step), fc.integer({ min: 2, max: 6 }), (steps, intensity) => {
        const one = budgets({ crashes: 1_000, window: 50 }, { intensity, period: 100 });
        let history = NO_RESTARTS;
        let now = 0;
        for (const { after, running, kills } of steps) {
          now += after;
          // As many queries run as are allowed, and all of them crash.
          const lost = Math.min(running, one.allowance(ANN, 'a', now));
          expect(lost === 0).toBe(one.waitFor(ANN, 'a', now) > 0);
          for (let index = 0; index < lost; index += 1) {
            one.record(ANN, kills ? killed : crashed, now);
            if (kills) continue;
            const added = addRestart({ intensity, periodMs: 100 }, history, now);
            expect(added.exceeded).toBe(false);
            ({ history } = added);
          }
        }
      }),
    );
  });
});

it('the wait is as long as it takes, and no longer', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(300), { minLength: 1, maxLength: 20 }), (pauses) => {
      const one = budgets({ crashes: 3, window: 500 }, { intensity: 3, period: 200 });
      let now = 0;
      for (const pause of pauses) {
        now += pause;
        one.record(ANN, crashed, now);
      }
      const wait = one.waitFor(ANN, 'a', now);
      if (wait > 0) expect(one.allowance(ANN, 'a', now + wait - 1)).toBe(0);
      expect(one.allowance(ANN, 'a', now + wait)).toBeGreaterThan(0);
    }),
  );
});
