/**
 * What happens in the server, as one typed stream. Components emit; logs and metrics subscribe; nobody else listens, and a
 * listener that throws disturbs no one.
 */
import type { PoolState } from '../actors/pool-status.ts';
import type { ConfigChange } from '../config/changes.ts';
import type { ConfigProblem } from '../config/problems.ts';
import type { EgressExit } from '../egress/egress-process.ts';
import type { FailureCode } from '../failures.ts';
import type { AuthFailure } from '../http/auth.ts';
import type { RequestEvent } from '../http/services.ts';
import type { Role } from '../principal.ts';
import type { ReloadTrigger } from '../reload.ts';
import type { SessionState } from '../sessions/session.ts';
import type { SessionEnd } from '../sessions/session-end.ts';
import type { SupervisorEvent } from '../supervisors/supervisor-event.ts';
import type { WorkerExitCause } from '../workers/worker-exit.ts';

/** Who asked for what. Whoever writes it down leaves the SQL out, unless the operator wants it. */
export interface QueryAsked {
  readonly principal: string;
  readonly role: Role;
  /** The address that the request came from. */
  readonly client: string | undefined;
  readonly session: string | undefined;
  readonly sources: readonly string[];
  readonly sql: string;
  /** The query whose kept result it reads. */
  readonly resultOf: string | undefined;
}

export interface ServerEvents {
  /** A request has its reply, or its client is gone. */
  'request.answered': RequestEvent;
  /** A request was refused for its key, or for having none. */
  'auth.failed': { readonly why: AuthFailure };
  'query.started': {
    readonly queryId: string;
    readonly pool: string;
    readonly principal: string;
    readonly sources: readonly string[];
    readonly tags: Readonly<Record<string, string>>;
  };
  /** Its worker died; it goes to another one. `attempts` so far. */
  'query.retried': {
    readonly queryId: string;
    readonly pool: string;
    readonly attempts: number;
    readonly crashId: string | undefined;
  };
  /** Exactly one for each `query.started`. */
  'query.ended': {
    readonly queryId: string;
    readonly pool: string;
    readonly principal: string;
    readonly outcome: 'succeeded' | FailureCode;
    readonly queueMs: number;
    readonly runMs: number;
    readonly totalMs: number;
    readonly rows: number | undefined;
    readonly bytes: number | undefined;
    readonly worker: string | undefined;
    readonly attempts: number;
    /** The cause of an `INTERNAL`, for the log alone. */
    readonly error: unknown;
    readonly cancelledBy: string | undefined;
    readonly asked: QueryAsked;
  };
  /** It was turned away before it was let in, for whatever reason: there is no `query.started`. */
  'query.rejected': { readonly queryId: string; readonly code: FailureCode; readonly asked: QueryAsked };
  /** It was turned away before it began, for what went before. */
  'query.refused': {
    readonly queryId: string;
    readonly pool: string;
    readonly principal: string;
    readonly code: FailureCode;
  };
  'worker.ready': {
    readonly pool: string;
    readonly worker: string;
    readonly incarnation: number;
    readonly pid: number | undefined;
    readonly startMs: number;
  };
  'worker.exited': {
    readonly pool: string;
    readonly worker: string;
    readonly incarnation: number;
    readonly pid: number | undefined;
    readonly cause: WorkerExitCause;
    readonly signal: string | undefined;
    readonly exitCode: number | undefined;
    readonly phase: string;
    readonly queryId: string | undefined;
    readonly crashId: string | undefined;
    readonly uptimeMs: number;
    /** Bytes of its resident set at the last look, and the most at any. */
    readonly memoryBytes: number | undefined;
    readonly peakMemoryBytes: number | undefined;
    readonly detail: string | undefined;
    /** It was a session's, and cannot open the workspace: `detail` says why. No other could. */
    readonly damagedWorkspace?: boolean | undefined;
    readonly lastLines: readonly string[];
  };
  'pool.state': {
    readonly pool: string;
    readonly from: PoolState;
    readonly state: PoolState;
    /** Until it is tried again; with `down` only. */
    readonly retryAfterMs: number | undefined;
  };
  'config.reloaded': {
    readonly trigger: ReloadTrigger;
    readonly version: number;
    readonly changes: readonly ConfigChange[];
  };
  /** Nothing has changed. */
  'config.refused': { readonly trigger: ReloadTrigger; readonly problems: readonly ConfigProblem[] };
  /** There is a report of a worker's death. */
  'crash.recorded': {
    readonly crashId: string;
    readonly pool: string;
    readonly worker: string;
    readonly incarnation: number;
    readonly cause: 'crash' | 'unresponsive' | 'killed';
    /** Of the query it died of, and who sent that. */
    readonly fingerprint: string | undefined;
    readonly principal: string | undefined;
  };
  'quarantine.started': {
    readonly fingerprint: string;
    /** Normalised: it holds names, and no literals. */
    readonly statement: string;
    readonly crashIds: readonly string[];
    /** Milliseconds since the epoch. */
    readonly until: number;
  };
  'quarantine.ended': {
    readonly fingerprint: string;
    readonly why: 'expired' | 'lifted' | 'evicted';
  };
  'session.opened': {
    readonly sessionId: string;
    readonly owner: string;
    readonly sources: readonly string[];
  };
  'session.state': {
    readonly sessionId: string;
    readonly from: SessionState;
    readonly state: SessionState;
    /** What the last death of its worker, or change of its sources, took along. */
    readonly lost: readonly string[];
  };
  /** Nothing is left of it. */
  'session.ended': { readonly sessionId: string; readonly owner: string; readonly why: SessionEnd };
  /** An operator has put other credentials in force. */
  'source.credentials': { readonly source: string; readonly version: number; readonly principal: string };
  /** Its server let a query wait in vain: queries that name it are turned away for so long. */
  'source.silent': { readonly source: string; readonly retryAfterMs: number };
  /** It answers again. */
  'source.answers': { readonly source: string };
  /** The process that serves exports takes requests. */
  'egress.started': {
    readonly incarnation: number;
    readonly pid: number | undefined;
    readonly url: string;
    readonly startMs: number;
  };
  'egress.exited': EgressExit & { readonly incarnation: number };
  supervisor: SupervisorEvent;
  /** Somebody wants a part of the tree to begin anew; `incarnation` is the one that ends. */
  'restart.requested': { readonly path: string; readonly incarnation: number; readonly requestedBy: string };
  /** Something that should not happen did, and was contained. */
  fault: { readonly where: string; readonly error: unknown };
}

export type EventName = keyof ServerEvents;

export class Events {
  readonly #listeners = new Map<EventName, Set<(event: never) => void>>();

  on<Name extends EventName>(name: Name, listener: (event: ServerEvents[Name]) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  emit<Name extends EventName>(name: Name, event: ServerEvents[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        (listener as (event: ServerEvents[Name]) => void)(event);
      } catch (error) {
        // A broken log must not fail a query. Its own failure is told once, and not to itself again.
        if (name !== 'fault') this.emit('fault', { where: `listener of ${name}`, error });
      }
    }
  }
}
