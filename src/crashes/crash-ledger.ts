/**
 * What the server remembers of dead workers, and what follows from it: the one object that the rest of it speaks to.
 *
 * - The owner of a worker tells of its death: `record`.
 * - Whoever admits a query asks first: `refusal`.
 * - Whoever sends queries to workers keeps to `allowance`.
 *
 * All three are synchronous and never throw for what a query or a disk does. That a quarantine is over is told (by an event) at
 * the next call of any of them, or when somebody looks at the list: there is no timer.
 */
import type { Clock } from '../actors/actor.ts';
import { limitOf } from '../config/limits.ts';
import type { Config } from '../config/schema.ts';
import { Failure } from '../failures.ts';
import type { PrincipalIdentity } from '../principal.ts';
import type { Events } from '../telemetry/events.ts';
import { CrashBudgets } from './crash-budget.ts';
import { CrashIds } from './crash-id.ts';
import {
  type CrashReport,
  type CrashSummary,
  crashReport,
  type QueryOrigin,
  redactorFor,
  shownStatement,
  type WorkerDeath,
} from './crash-report.ts';
import { type CrashFilter, CrashStore } from './crash-store.ts';
import { fingerprint } from './fingerprint.ts';
import { Quarantine, type Quarantined } from './quarantine.ts';
import type { Redactor } from './redact.ts';

export interface CrashLedgerOptions {
  /** For the reports; made if it is not there. */
  readonly folder: string;
  /** The configuration in force, asked for at each use. */
  readonly config: () => Pick<Config, 'crashes' | 'limits' | 'pools' | 'quarantine'>;
  readonly redactor: Redactor;
  readonly versions: { readonly duckcoop: string; readonly node: string };
  readonly clock: Clock;
  readonly events: Events;
  /** Milliseconds since the epoch. */
  readonly wallClock?: () => number;
}

/** What has to be known of a query before it is admitted. */
export type QueryToAdmit = Pick<QueryOrigin, 'queryId' | 'principal' | 'sql' | 'sources'>;

export class CrashLedger {
  readonly #options: CrashLedgerOptions;
  readonly #store: CrashStore;
  readonly #wallClock: () => number;
  readonly #ids = new CrashIds();
  readonly #quarantine: Quarantine;
  readonly #budgets: CrashBudgets;

  private constructor(options: CrashLedgerOptions, store: CrashStore) {
    const { config, wallClock = Date.now } = options;
    this.#options = options;
    this.#store = store;
    this.#wallClock = wallClock;
    this.#quarantine = new Quarantine(() => config().quarantine);
    this.#budgets = new CrashBudgets({
      budgetOf: (principal) => limitOf(config().limits, principal, 'crash_budget'),
      restartsOf: (pool) => config().pools[pool]?.restart,
    });
  }

  /** Reads the reports of former runs. Never rejects: what cannot be read or written is a fault. */
  static async open(options: CrashLedgerOptions): Promise<CrashLedger> {
    const { folder, config, events, wallClock = Date.now } = options;
    const store = await CrashStore.open({
      folder,
      settings: () => config().crashes,
      wallClock,
      onFault: (error) => events.emit('fault', { where: 'crash-store', error }),
    });
    return new CrashLedger(options, store);
  }

  /** Returns the id of the crash. The report is listed at once, and written behind. */
  record(death: WorkerDeath): string {
    const at = this.#wallClock();
    const crashId = this.#ids.next(at);
    try {
      this.#record(death, crashId, at);
    } catch (error) {
      // Whatever is wrong here, the worker has to be replaced.
      this.#options.events.emit('fault', { where: 'crash-ledger', error });
    }
    return crashId;
  }

  /** Why this query is not admitted to the pool. Next to free while nothing is quarantined and nobody has a budget to spend. */
  refusal(query: QueryToAdmit, pool: string): Failure | undefined {
    const now = this.#options.clock.now();
    const failure = this.#quarantineRefusal(query, now) ?? this.#budgetRefusal(query.principal, pool, now);
    if (failure !== undefined) {
      const { queryId, principal } = query;
      this.#options.events.emit('query.refused', {
        queryId,
        pool,
        principal: principal.name,
        code: failure.code,
      });
    }
    return failure;
  }

  /**
   * How many more workers of the pool this principal may cost at this moment; `Infinity` where it has no budget. No more of its
   * queries may run there at once, or it could pass its budget, or use up the restarts of the pool, in a single moment.
   */
  allowance(principal: PrincipalIdentity, pool: string): number {
    return this.#budgets.allowance(principal, pool, this.#options.clock.now());
  }

  list(filter: CrashFilter): {
    readonly crashes: readonly CrashSummary[];
    readonly next: string | undefined;
  } {
    return this.#store.list(filter);
  }

  get(id: string): Promise<CrashReport | undefined> {
    return this.#store.get(id);
  }

  /** The latest first. */
  quarantined(): readonly Quarantined[] {
    this.#expire();
    return this.#quarantine.list(this.#options.clock.now());
  }

  /** Ends one quarantine, or all of them, and forgets the crashes. Returns how many have ended. */
  lift(which: { readonly fingerprint: string } | 'all'): number {
    const now = this.#expire();
    const lifted =
      which === 'all'
        ? this.#quarantine.liftAll(now)
        : [this.#quarantine.lift(which.fingerprint, now)].filter((one) => one !== undefined);
    this.#ended(lifted, 'lifted');
    return lifted.length;
  }

  /** Resolves once every report is written, or has failed to be. */
  async close(): Promise<void> {
    await this.#store.close();
  }

  #record(death: WorkerDeath, crashId: string, at: number): void {
    const { config, redactor, versions, events } = this.#options;
    const { query, pool, worker, incarnation, cause } = death;
    const now = this.#expire();
    const print =
      query === undefined ? undefined : fingerprint(query.sql, query.sources, query.principal.name);
    // First what protects the others.
    if (query !== undefined && print !== undefined) {
      this.#budgets.record(query.principal, death, now);
      if (cause !== 'killed') this.#suspect(query, { fingerprint: print, crashId, pool, at }, now);
    }
    const includeSql = config().crashes.include_sql;
    this.#store.add(crashReport(death, { crashId, at, fingerprint: print, includeSql, redactor, versions }));
    events.emit('crash.recorded', {
      crashId,
      pool,
      worker,
      incarnation,
      cause,
      fingerprint: print,
      principal: query?.principal.name,
    });
  }

  #suspect(
    query: QueryOrigin,
    crash: {
      readonly fingerprint: string;
      readonly crashId: string;
      readonly pool: string;
      readonly at: number;
    },
    now: number,
  ): void {
    const { sql, principal } = query;
    const statement = shownStatement(sql, redactorFor(query, this.#options.redactor));
    const { started, evicted } = this.#quarantine.record(
      { ...crash, statement, principal: principal.name },
      now,
    );
    this.#ended(evicted, 'evicted');
    if (started !== undefined) {
      const { fingerprint, crashIds, until } = started;
      this.#options.events.emit('quarantine.started', { fingerprint, statement, crashIds, until });
    }
  }

  #quarantineRefusal({ sql, sources, principal }: QueryToAdmit, now: number): Failure | undefined {
    if (this.#quarantine.isEmpty) return undefined;
    this.#expire();
    const held = this.#quarantine.find(fingerprint(sql, sources, principal.name), now);
    if (held === undefined) return undefined;
    return new Failure(
      'QUERY_QUARANTINED',
      `This statement has crashed its workers, and is not run before ${new Date(held.until).toISOString()}.`,
      { members: { crash_ids: held.crashIds, until: held.until } },
    );
  }

  #budgetRefusal(principal: PrincipalIdentity, pool: string, now: number): Failure | undefined {
    const waitMs = this.#budgets.waitFor(principal, pool, now);
    if (waitMs === 0) return undefined;
    return new Failure(
      'CRASH_BUDGET_EXCEEDED',
      'Queries of this principal have cost as many workers as they may for now.',
      { retryAfter: waitMs / 1_000 },
    );
  }

  /** Returns the time it is. */
  #expire(): number {
    const now = this.#options.clock.now();
    this.#ended(this.#quarantine.expire(now), 'expired');
    return now;
  }

  #ended(quarantines: readonly Quarantined[], why: 'expired' | 'lifted' | 'evicted'): void {
    for (const { fingerprint } of quarantines)
      this.#options.events.emit('quarantine.ended', { fingerprint, why });
  }
}
