/** The workers there are: for the queue that starts anew, and for those who look (`GET /v1/workers`, chaos). */
import type { Fault, InjectedFault, Phase, StartFault } from '../workers/protocol.ts';
import type { ActorRef } from './actor.ts';
import type { Job } from './job.ts';

/** What a worker actor is told. Events of its process are messages of its own (worker-actor.ts). */
export type WorkerMessage =
  | { readonly type: 'run'; readonly job: Job }
  | { readonly type: 'cancel'; readonly queryId: string }
  /** Give back what has not begun. */
  | { readonly type: 'give-back' }
  /** A new queue asks who is there. */
  | { readonly type: 'hello' }
  /** Whether it takes queries, or is kept warm to take over. */
  | { readonly type: 'role'; readonly reserve: boolean }
  /** Be replaced: take no more, and end once there is nothing left to do. */
  | { readonly type: 'recycle' }
  /** The configuration has changed. */
  | { readonly type: 'settings-changed' }
  | { readonly type: 'stop' }
  | { readonly type: 'kill' }
  | {
      readonly type: 'fault';
      /** One of START_FAULTS is had by the next start of this worker, once. */
      readonly fault: Fault;
      /** When it is had; undefined for at once. */
      readonly phase: Phase | undefined;
      /** Only if the worker has this query, and then at that query's `phase`. */
      readonly queryId?: string;
    };

export interface WorkerStatus {
  readonly id: string;
  readonly pool: string;
  readonly pid: number | undefined;
  readonly state: string;
  readonly incarnation: number;
  readonly queryId: string | undefined;
  /** Bytes of its resident set when it was last looked at. */
  readonly rssBytes: number | undefined;
  readonly uptimeMs: number;
  /** Statements it has finished. */
  readonly queries: number;
}

export interface RosterEntry {
  readonly pool: string;
  readonly ref: ActorRef<WorkerMessage>;
  readonly status: () => WorkerStatus;
}

/** A fault that waits for a query to come to a phase. */
export interface QueryFault {
  readonly fault: InjectedFault;
  readonly phase: Phase;
}

const SERVING: ReadonlySet<string> = new Set(['idle', 'busy', 'reserve', 'spare']);
/** Of faults for queries that never come, no more than these are kept. */
const MAX_QUERY_FAULTS = 1_000;

export class WorkerRoster {
  readonly #entries = new Set<RosterEntry>();
  /** By the worker's id: what outlives its incarnation. */
  readonly #startFaults = new Map<string, StartFault>();
  /** By the query's id, the oldest first. */
  readonly #queryFaults = new Map<string, QueryFault>();

  /** Chaos: the worker of this query has the fault, once, whichever worker that will be. */
  armQuery(queryId: string, fault: QueryFault): void {
    this.#queryFaults.set(queryId, fault);
    const [oldest] = this.#queryFaults.keys();
    if (this.#queryFaults.size > MAX_QUERY_FAULTS && oldest !== undefined) this.#queryFaults.delete(oldest);
  }

  faultOfQuery(queryId: string): QueryFault | undefined {
    return this.#queryFaults.size === 0 ? undefined : this.#queryFaults.get(queryId);
  }

  /** The query has ended, or its worker has. */
  disarmQuery(queryId: string): void {
    if (this.#queryFaults.size > 0) this.#queryFaults.delete(queryId);
  }

  /** Returns its removal. */
  add(entry: RosterEntry): () => void {
    this.#entries.add(entry);
    return () => this.#entries.delete(entry);
  }

  all(): readonly RosterEntry[] {
    return [...this.#entries];
  }

  /** How many workers of a pool can take a query, or have one. */
  serving(pool: string): number {
    const states = this.ofPool(pool).map(({ status }) => status().state);
    return states.filter((state) => SERVING.has(state)).length;
  }

  ofPool(pool: string): readonly RosterEntry[] {
    return this.all().filter((entry) => entry.pool === pool);
  }

  /** Chaos: the worker's next start has the fault. */
  armStart(worker: string, fault: StartFault): void {
    this.#startFaults.set(worker, fault);
  }

  /** The fault that this start of the worker is to have; no later one has it. */
  takeStartFault(worker: string): StartFault | undefined {
    const fault = this.#startFaults.get(worker);
    this.#startFaults.delete(worker);
    return fault;
  }
}
