/**
 * How many workers each principal may cost.
 *
 * Two windows bind a principal that has a budget: its own (`crash_budget`, whatever killed the worker), and, in each pool, the
 * pool's restart period. There it has a share of the pool's intensity that leaves one restart to everybody else, so that nobody
 * who has a budget can take a pool down alone.
 *
 * Pure: `now` is passed in, milliseconds of which only differences mean anything. What is remembered is what may still count,
 * and there are as many principals as the configuration names.
 */
import type { PrincipalIdentity } from '../principal.ts';

export interface CrashBudgetConfig {
  readonly crashes: number;
  /** Milliseconds. */
  readonly window: number;
}

/** Of a pool: OTP's restart intensity, the period in milliseconds. */
export interface PoolRestarts {
  readonly intensity: number;
  readonly period: number;
}

/** Asked for at each use, so that they may change. */
export interface CrashBudgetSettings {
  /** `undefined` for a principal without a budget. */
  readonly budgetOf: (principal: PrincipalIdentity) => CrashBudgetConfig | undefined;
  readonly restartsOf: (pool: string) => PoolRestarts | undefined;
}

interface Loss {
  readonly pool: string;
  readonly at: number;
  /** Whether it counts towards the pool's intensity. */
  readonly countsInPool: boolean;
}

export class CrashBudgets {
  readonly #settings: CrashBudgetSettings;
  /** By the principal's name, oldest first. */
  readonly #losses = new Map<string, readonly Loss[]>();

  constructor(settings: CrashBudgetSettings) {
    this.#settings = settings;
  }

  /** A worker died of this principal's query. Of principals without a budget nothing is remembered. */
  record(
    principal: PrincipalIdentity,
    { pool, cause }: { readonly pool: string; readonly cause: 'crash' | 'unresponsive' | 'killed' },
    now: number,
  ): void {
    const budget = this.#settings.budgetOf(principal);
    const losses = budget === undefined ? [] : this.#lossesOf(principal, budget, now);
    if (budget === undefined) this.#losses.delete(principal.name);
    else this.#losses.set(principal.name, [...losses, { pool, at: now, countsInPool: cause !== 'killed' }]);
  }

  /**
   * How many more workers of the pool the principal may cost at this moment: no more of its queries than that are to run there
   * at once. `Infinity` without a budget, 0 where it has to wait.
   */
  allowance(principal: PrincipalIdentity, pool: string, now: number): number {
    const budget = this.#settings.budgetOf(principal);
    if (budget === undefined) return Number.POSITIVE_INFINITY;
    return this.#windows(principal, budget, pool, now).reduce(
      (least, { allowed, spent }) => Math.min(least, Math.max(0, allowed - spent.length)),
      Number.POSITIVE_INFINITY,
    );
  }

  /** Milliseconds until the principal may cost a worker of the pool again; 0 where it may. */
  waitFor(principal: PrincipalIdentity, pool: string, now: number): number {
    const budget = this.#settings.budgetOf(principal);
    // The way of nearly every query.
    if (budget === undefined || !this.#losses.has(principal.name)) return 0;
    return this.#windows(principal, budget, pool, now).reduce((longest, { allowed, spent, length }) => {
      // Of more than are allowed (they had begun at the same time) as many have to leave as are too many.
      const leaving = spent[spent.length - allowed];
      return leaving === undefined ? longest : Math.max(longest, leaving + length - now);
    }, 0);
  }

  #windows(principal: PrincipalIdentity, budget: CrashBudgetConfig, pool: string, now: number): Window[] {
    const losses = this.#lossesOf(principal, budget, now);
    if (losses.length === 0) this.#losses.delete(principal.name);
    const own = window(losses, budget.crashes, budget.window, now);
    const restarts = this.#settings.restartsOf(pool);
    if (restarts === undefined) return [own];
    const inPool = losses.filter((loss) => loss.pool === pool && loss.countsInPool);
    // A restart counts until its period is over (supervisor.erl: within the period, its end included).
    return [own, window(inPool, Math.max(1, restarts.intensity - 1), restarts.period + 1, now)];
  }

  /** Those that may still count in one window or the other. */
  #lossesOf({ name }: PrincipalIdentity, budget: CrashBudgetConfig, now: number): readonly Loss[] {
    const losses = this.#losses.get(name) ?? [];
    return losses.filter(({ pool, at }) => {
      const period = this.#settings.restartsOf(pool)?.period ?? 0;
      return now - at < Math.max(budget.window, period + 1);
    });
  }
}

interface Window {
  readonly allowed: number;
  /** When, oldest first. */
  readonly spent: readonly number[];
  readonly length: number;
}

function window(losses: readonly Loss[], allowed: number, length: number, now: number): Window {
  return { allowed, length, spent: losses.flatMap(({ at }) => (now - at < length ? at : [])) };
}
