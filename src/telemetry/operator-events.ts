/**
 * What operators are told of {@link ServerEvents}, as it goes over the wire: which events, under which name, with which
 * members. One table: an event of the server that has no entry does not compile.
 *
 * Members are picked one by one, so that no SQL text and no credential can ride along; text that some library or some worker
 * wrote (the message of an error, the last lines of a process) is left out, and found in the log.
 */
import type { ExitReason } from '../supervisors/exit-reason.ts';
import type { SupervisorEvent, SupervisorEventDetail } from '../supervisors/supervisor-event.ts';
import { WorkerExitError } from '../workers/worker-exit.ts';
import type { EventName, ServerEvents } from './events.ts';

/** Members in snake_case; times in whole milliseconds. */
type Members = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

/** `undefined` for what is not for this stream. */
type Translation<Event> = ((event: Event) => Members) | undefined;

const TRANSLATIONS: {
  readonly [Name in Exclude<EventName, 'supervisor'>]: Translation<ServerEvents[Name]>;
} = {
  // There are thousands of them a second, and `GET /v1/queries` shows them.
  'query.started': undefined,
  'query.ended': undefined,
  'query.rejected': undefined,
  'request.answered': undefined,
  // A defect of ours, of which nothing but text is known: for the log alone.
  fault: undefined,
  'worker.ready': ({ pool, worker, incarnation, pid, startMs }) => ({
    pool,
    worker,
    incarnation,
    pid: pid ?? null,
    start_ms: Math.round(startMs),
  }),
  'worker.exited': (exited) => ({
    pool: exited.pool,
    worker: exited.worker,
    incarnation: exited.incarnation,
    pid: exited.pid ?? null,
    cause: exited.cause,
    signal: exited.signal ?? null,
    exit_code: exited.exitCode ?? null,
    phase: exited.phase,
    query_id: exited.queryId ?? null,
    crash_id: exited.crashId ?? null,
    uptime_ms: Math.round(exited.uptimeMs),
  }),
  'pool.state': ({ pool, from, state, retryAfterMs }) => ({
    pool,
    state,
    from,
    retry_after_ms: retryAfterMs === undefined ? null : Math.round(retryAfterMs),
  }),
  'query.retried': ({ queryId, pool, attempts, crashId }) => ({
    query_id: queryId,
    pool,
    attempts,
    crash_id: crashId ?? null,
  }),
  'query.refused': ({ queryId, pool, principal, code }) => ({ query_id: queryId, pool, principal, code }),
  'crash.recorded': ({ crashId, pool, worker, incarnation, cause, fingerprint, principal }) => ({
    crash_id: crashId,
    pool,
    worker,
    incarnation,
    cause,
    fingerprint: fingerprint ?? null,
    principal: principal ?? null,
  }),
  'quarantine.started': ({ fingerprint, crashIds, until }) => ({ fingerprint, crash_ids: crashIds, until }),
  'quarantine.ended': ({ fingerprint, why }) => ({ fingerprint, why }),
  'config.reloaded': ({ trigger, version, changes }) => ({
    trigger,
    version,
    changes: changes.map(({ path }) => path),
  }),
  'config.refused': ({ trigger, problems }) => ({ trigger, errors: problems.map(({ path }) => path) }),
  'session.opened': ({ sessionId, owner, sources }) => ({ session_id: sessionId, owner, sources }),
  'session.state': ({ sessionId, from, state }) => ({ session_id: sessionId, from, state }),
  'source.credentials': ({ source, version, principal }) => ({ source, version, principal }),
  'source.silent': ({ source, retryAfterMs }) => ({ source, retry_after_ms: retryAfterMs }),
  'source.answers': ({ source }) => ({ source }),
  'egress.started': ({ incarnation, pid, startMs }) => ({
    incarnation,
    pid: pid ?? null,
    start_ms: Math.round(startMs),
  }),
  'egress.exited': ({ incarnation, pid, cause, signal, exitCode, uptimeMs }) => ({
    incarnation,
    pid: pid ?? null,
    cause,
    signal: signal ?? null,
    exit_code: exitCode ?? null,
    uptime_ms: Math.round(uptimeMs),
  }),
  'session.ended': ({ sessionId, owner, why }) => ({ session_id: sessionId, owner, why }),
  // Counted: strangers could flood the stream.
  'auth.failed': undefined,
  'restart.requested': ({ path, incarnation, requestedBy }) => ({
    path,
    incarnation,
    requested_by: requestedBy,
  }),
};

type SupervisorEventType = SupervisorEventDetail['type'];

/** What each adds to the supervisor, the child's path and its incarnation. */
const SUPERVISOR_TRANSLATIONS: {
  readonly [Type in SupervisorEventType]: (event: Extract<SupervisorEventDetail, { type: Type }>) => Members;
} = {
  child_started: () => ({}),
  child_start_failed: ({ reason }) => ({ error: kindOf(reason) }),
  child_exited: ({ reason }) => reasonOf(reason),
  child_stopped: ({ reason, killed }) => ({ ...reasonOf(reason), killed }),
  restart_scheduled: ({ delayMs, attempt }) => ({ delay_ms: Math.round(delayMs), attempt }),
  intensity: ({ used, allowed }) => ({ used, allowed: finite(allowed) }),
  supervisor_gave_up: ({ used, allowed }) => ({ used, allowed: finite(allowed) }),
};

/** The name under which an event of a supervisor is logged and told: `supervisor.child_exited`, `supervisor.gave_up`. */
export function supervisorEventName(type: SupervisorEventType): string {
  return `supervisor.${type.replace(/^supervisor_/, '')}`;
}

/** The names of all events that there can be, in the alphabet's order. */
export const OPERATOR_EVENT_TYPES: readonly string[] = [
  ...serverEvents(),
  ...Object.keys(SUPERVISOR_TRANSLATIONS).map((type) => supervisorEventName(type as SupervisorEventType)),
].toSorted();

export interface OperatorEvent {
  readonly type: string;
  readonly members: Members;
}

/** The events of the server, beside those of supervisors, that operators are told of. */
export function serverEvents(): readonly Exclude<EventName, 'supervisor'>[] {
  const names = Object.keys(TRANSLATIONS) as Exclude<EventName, 'supervisor'>[];
  return names.filter((name) => TRANSLATIONS[name] !== undefined);
}

export function operatorEvent<Name extends Exclude<EventName, 'supervisor'>>(
  name: Name,
  event: ServerEvents[Name],
): OperatorEvent | undefined {
  const translate: Translation<ServerEvents[Name]> = TRANSLATIONS[name];
  return translate === undefined ? undefined : { type: name, members: translate(event) };
}

export function supervisorOperatorEvent(event: SupervisorEvent): OperatorEvent {
  const { supervisor, path, incarnation, type } = event;
  // The compiler cannot see that the entry found under an event's type takes that event.
  const translate = SUPERVISOR_TRANSLATIONS[type] as (event: SupervisorEvent) => Members;
  return {
    type: supervisorEventName(type),
    members: { supervisor, path, incarnation, ...translate(event) },
  };
}

function reasonOf(reason: ExitReason): Members {
  if (reason.kind !== 'error') return { reason: reason.kind };
  if (reason.error instanceof WorkerExitError) return { reason: 'error', cause: reason.error.exitCause };
  return { reason: 'error', error: kindOf(reason.error) };
}

/** Of an error nothing but its class: its message may hold anything. */
function kindOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}

/** JSON has no infinity: null for a supervisor without a limit. */
function finite(allowed: number): number | null {
  return Number.isFinite(allowed) ? allowed : null;
}
