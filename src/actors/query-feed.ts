/**
 * What becomes of one query, as events for those who follow it: `queued`, `running`, `progress`, `retrying`, then exactly one of
 * `succeeded`, `failed`, `cancelled`.
 *
 * There is one only for a query that somebody follows. It begins with where the query is by then, and is kept as long as the
 * query is known, so that whoever lost the connection goes on where that broke.
 */
import { EventRing } from '../telemetry/event-ring.ts';
import type { QueryProgress, QueryView } from './query.ts';

/** More than there are in a second: a reader that is so far behind does not read. */
const KEPT_EVENTS = 64;
/** Milliseconds between two events that only say how much nearer to a worker a query is. */
const POSITION_EVERY_MS = 200;

/** The events that are the last one of their query. */
export const FINAL_EVENTS: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled']);
export const QUERY_EVENTS = ['queued', 'running', 'progress', 'retrying', ...FINAL_EVENTS];

export interface QueryFeedOptions {
  /** Of the server: letters and digits. */
  readonly run: string;
  /** Milliseconds since the epoch. */
  readonly wallClock?: () => number;
}

export class QueryFeed {
  readonly ring: EventRing;
  readonly #queryId: string;
  #position: number | undefined;
  #positionAt = 0;

  constructor(queryId: string, { run, wallClock }: QueryFeedOptions) {
    this.#queryId = queryId;
    this.ring = new EventRing({ run, keep: KEPT_EVENTS, now: wallClock });
  }

  /** `position`: 1 for the one that a worker gets next. */
  queued(position: number): void {
    const now = this.ring.now();
    const isNews = this.#position === undefined || now - this.#positionAt >= POSITION_EVERY_MS;
    if (position === this.#position || !isNews) return;
    this.#position = position;
    this.#positionAt = now;
    this.#tell('queued', { position });
  }

  running(worker: string | undefined, attempt: number): void {
    this.#position = undefined;
    this.#tell('running', { worker: worker ?? null, attempt });
  }

  progress(progress: QueryProgress): void {
    this.#tell('progress', progressMembers(progress));
  }

  /** Its worker died, and another one is to try it. */
  retrying(attempts: number, crashId: string | undefined): void {
    this.#tell('retrying', { attempts, crash_id: crashId ?? null });
  }

  /** It has ended as the view says. */
  ended({ state, rows, bytes, runMs, attempts, error }: QueryView): void {
    const members =
      error === undefined
        ? { rows: rows ?? null, bytes: bytes ?? null, run_ms: Math.round(runMs), attempts }
        : { error: error.toProblem(this.#queryId) };
    this.#tell(state, members);
    this.ring.end();
  }

  #tell(type: string, members: Readonly<Record<string, unknown>>): void {
    this.ring.append(type, { query_id: this.#queryId, ...members });
  }
}

/** Progress as it goes over the wire: the percentage is null where DuckDB cannot tell. */
export function progressMembers({ percentage, rows, bytes, memoryBytes }: QueryProgress) {
  return { percentage: percentage ?? null, rows, bytes, memory_bytes: memoryBytes };
}
