/** Chaos as a feature: real faults for real workers, on request. What becomes of them is the supervisors' business. */
import { isFinal } from './actors/query-state.ts';
import type { QueryTable } from './actors/query-table.ts';
import type { RosterEntry, WorkerRoster } from './actors/worker-roster.ts';
import { Failure, forbidden } from './failures.ts';
import { type Fault, isStartFault, type Phase } from './workers/protocol.ts';

/** The phases of a query in its worker. */
export const QUERY_PHASES = [
  'attaching',
  'preparing',
  'running',
  'replying',
  'cancelling',
] as const satisfies Phase[];

/** A worker by its id, one of a pool's workers, or the worker of a query at one of its phases. */
export type ChaosTarget =
  | { readonly worker: string }
  | { readonly pool: string }
  | { readonly query: string; readonly phase: (typeof QUERY_PHASES)[number] };

export interface ChaosOptions {
  readonly enabled: () => boolean;
  readonly pools: () => readonly string[];
  readonly roster: WorkerRoster;
  readonly table: QueryTable;
}

export interface ChaosService {
  /** Throws `FORBIDDEN` unless chaos is enabled. */
  requireEnabled(): void;
  /**
   * Returns the id of the worker that was told; undefined where no worker has the query yet. Throws `NOT_FOUND` for a target that is not there.
   */
  inject(target: ChaosTarget, fault: Fault): string | undefined;
  /** A worker of this id, or a pool of this name. Throws `NOT_FOUND`. */
  find(name: string): ChaosTarget;
}

/** Who is likelier to be at work comes first. */
const BY_STATE = ['busy', 'idle', 'reserve'];

export function chaosService({ enabled, pools, roster, table }: ChaosOptions): ChaosService {
  const workerOf = (target: Exclude<ChaosTarget, { query: string }>): RosterEntry => {
    if ('worker' in target) {
      const worker = roster.all().find(({ status }) => status().id === target.worker);
      if (worker === undefined) throw missing('worker', target.worker);
      return worker;
    }
    if (!pools().includes(target.pool)) throw missing('pool', target.pool);
    const rank = ({ status }: RosterEntry) => BY_STATE.indexOf(status().state);
    const serving = roster.ofPool(target.pool).filter((entry) => rank(entry) !== -1);
    const [worker] = serving.toSorted((one, other) => rank(one) - rank(other));
    if (worker === undefined)
      throw new Failure('NOT_FOUND', `No worker of pool ${target.pool} serves at the moment.`);
    return worker;
  };
  return {
    requireEnabled() {
      if (enabled()) return;
      throw forbidden(
        'endpoint',
        '/v1/chaos',
        'Chaos is off here; chaos.enabled in the configuration turns it on.',
      );
    },
    find(name) {
      if (roster.all().some(({ status }) => status().id === name)) return { worker: name };
      if (pools().includes(name)) return { pool: name };
      throw missing('worker or pool', name);
    },
    inject(target, fault) {
      if (!('query' in target)) {
        const worker = workerOf(target);
        worker.ref.tell({ type: 'fault', fault, phase: undefined });
        return worker.status().id;
      }
      const { query: queryId, phase } = target;
      const record = table.find(queryId);
      if (record !== undefined && isFinal(record.state)) {
        throw new Failure('NOT_FOUND', `The query ${JSON.stringify(queryId)} has ended.`);
      }
      if (isStartFault(fault)) {
        throw new Failure('INVALID_REQUEST', `${fault} is had by the start of a worker, not by a query's.`, {
          members: { errors: [{ path: 'target', message: `expected a worker or a pool for ${fault}` }] },
        });
      }
      // Whoever has it hears of it; whoever gets it later finds it.
      roster.armQuery(queryId, { fault, phase });
      for (const { ref } of roster.all()) ref.tell({ type: 'fault', fault, phase, queryId });
      return record?.worker;
    },
  };
}

function missing(what: string, name: string): Failure {
  return new Failure('NOT_FOUND', `There is no ${what} ${JSON.stringify(name)}.`);
}
