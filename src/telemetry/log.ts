/** The log: one JSON line an event, on standard output. It never holds SQL, parameters or credentials. */
import { type Logger, pino } from 'pino';
import type { Events } from './events.ts';
import { supervisorEventName } from './operator-events.ts';

export type { Logger };

export function createLogger(level: string): Logger {
  return pino({ level, base: null, timestamp: isoTime }, new TurnWriter(process.stdout));
}

let lastTime = 0;
let lastText = '';

/** As pino's own, which makes the text anew for each of a millisecond's lines. */
function isoTime(): string {
  const now = Date.now();
  if (now !== lastTime) {
    lastTime = now;
    lastText = `,"time":"${new Date(now).toISOString()}"`;
  }
  return lastText;
}

/** Lines of one turn of the event loop are written at once: under load, a system call for dozens of them. */
class TurnWriter {
  readonly #out: NodeJS.WritableStream;
  #lines = '';

  constructor(out: NodeJS.WritableStream) {
    this.#out = out;
    process.once('exit', () => this.#flush());
  }

  write(line: string): void {
    if (this.#lines === '') setImmediate(() => this.#flush());
    this.#lines += line;
  }

  #flush(): void {
    if (this.#lines !== '') this.#out.write(this.#lines);
    this.#lines = '';
  }
}

export interface LogOptions {
  /** Milliseconds from which on a query is marked as slow. */
  readonly slowQueryMs: () => number;
  /** Takes credentials out of text that others wrote. */
  readonly redact: (text: string) => string;
}

/** Writes what happens to the log. Returns the end of it. */
export function logEvents(events: Events, log: Logger, { slowQueryMs, redact }: LogOptions): () => void {
  const subscriptions = [
    events.on('query.started', ({ queryId, pool, principal, sources, tags }) =>
      log.info(
        { event: 'query.started', query_id: queryId, pool, principal, sources, tags },
        'query started',
      ),
    ),
    events.on('query.ended', (ended) => {
      const line = {
        event: 'query.ended',
        query_id: ended.queryId,
        pool: ended.pool,
        principal: ended.principal,
        outcome: ended.outcome,
        queue_ms: Math.round(ended.queueMs),
        run_ms: Math.round(ended.runMs),
        total_ms: Math.round(ended.totalMs),
        rows: ended.rows,
        bytes: ended.bytes,
        worker: ended.worker,
        attempts: ended.attempts,
        ...(ended.totalMs >= slowQueryMs() && { slow: true }),
        ...(ended.error !== undefined && { err: ended.error }),
      };
      if (ended.outcome === 'INTERNAL') log.error(line, 'query ended');
      else if (ended.outcome === 'WORKER_CRASHED') log.warn(line, 'query ended');
      else log.info(line, 'query ended');
    }),
    events.on('query.retried', ({ queryId, pool, attempts, crashId }) =>
      log.warn(
        { event: 'query.retried', query_id: queryId, pool, attempts, crash_id: crashId },
        'query retried',
      ),
    ),
    events.on('query.refused', ({ queryId, pool, principal, code }) =>
      log.info({ event: 'query.refused', query_id: queryId, pool, principal, code }, 'query refused'),
    ),
    events.on('worker.ready', ({ pool, worker, incarnation, pid, startMs }) =>
      log.info(
        { event: 'worker.ready', pool, worker, incarnation, pid, start_ms: Math.round(startMs) },
        'worker ready',
      ),
    ),
    events.on('worker.exited', (exited) => {
      const line = {
        event: 'worker.exited',
        pool: exited.pool,
        worker: exited.worker,
        incarnation: exited.incarnation,
        pid: exited.pid,
        cause: exited.cause,
        signal: exited.signal,
        exit_code: exited.exitCode,
        phase: exited.phase,
        query_id: exited.queryId,
        crash_id: exited.crashId,
        uptime_ms: Math.round(exited.uptimeMs),
        memory_bytes: exited.memoryBytes,
        peak_memory_bytes: exited.peakMemoryBytes,
        detail: exited.detail === undefined ? undefined : redact(exited.detail),
        last_lines: exited.lastLines.map(redact),
      };
      if (exited.cause === 'crash' || exited.cause === 'unresponsive') log.warn(line, 'worker exited');
      else log.info(line, 'worker exited');
    }),
    events.on('pool.state', ({ pool, from, state, retryAfterMs }) => {
      const retry = retryAfterMs === undefined ? {} : { retry_after_ms: Math.round(retryAfterMs) };
      const line = { event: `pool.${state}`, pool, ...retry };
      if (state === 'down') log.error(line, 'pool down');
      else if (from === 'up') log.warn(line, `pool ${state}`);
      else log.info(line, `pool ${state}`);
    }),
    events.on('config.reloaded', ({ trigger, version, changes }) =>
      log.info({ event: 'config.reloaded', trigger, version, changes }, 'configuration reloaded'),
    ),
    events.on('config.refused', ({ trigger, problems }) =>
      log.error({ event: 'config.refused', trigger, problems }, 'configuration refused; nothing has changed'),
    ),
    events.on('crash.recorded', ({ crashId, pool, worker, incarnation, cause, fingerprint, principal }) =>
      log.info(
        {
          event: 'crash.recorded',
          crash_id: crashId,
          ...{ pool, worker, incarnation, cause, fingerprint, principal },
        },
        'crash recorded',
      ),
    ),
    // Without the statement: the log holds no SQL.
    events.on('quarantine.started', ({ fingerprint, crashIds, until }) =>
      log.warn(
        { event: 'quarantine.started', fingerprint, crash_ids: crashIds, until },
        'statement quarantined',
      ),
    ),
    events.on('quarantine.ended', ({ fingerprint, why }) =>
      log.info({ event: 'quarantine.ended', fingerprint, why }, 'quarantine ended'),
    ),
    events.on('supervisor', (event) => {
      if (event.type !== 'restart_scheduled' && event.type !== 'supervisor_gave_up') return;
      const { type, supervisor, id, incarnation } = event;
      const delay = event.type === 'restart_scheduled' ? { delay_ms: Math.round(event.delayMs) } : {};
      log.warn(
        { event: supervisorEventName(type), supervisor, child: id, incarnation, ...delay },
        type.replaceAll('_', ' '),
      );
    }),
    events.on('session.opened', ({ sessionId, owner, sources }) =>
      log.info({ event: 'session.opened', session_id: sessionId, owner, sources }, 'session opened'),
    ),
    events.on('session.state', ({ sessionId, from, state, lost }) =>
      log.info(
        { event: 'session.state', session_id: sessionId, from, state, lost: lost.length },
        'session state',
      ),
    ),
    events.on('session.ended', ({ sessionId, owner, why }) =>
      log.info({ event: 'session.ended', session_id: sessionId, owner, why }, 'session ended'),
    ),
    events.on('egress.started', ({ incarnation, pid, url, startMs }) =>
      log.info(
        { event: 'egress.started', incarnation, pid, url, start_ms: Math.round(startMs) },
        'egress started',
      ),
    ),
    events.on('egress.exited', (exited) => {
      const line = {
        event: 'egress.exited',
        incarnation: exited.incarnation,
        pid: exited.pid,
        cause: exited.cause,
        signal: exited.signal,
        exit_code: exited.exitCode,
        uptime_ms: Math.round(exited.uptimeMs),
        detail: exited.detail === undefined ? undefined : redact(exited.detail),
        last_lines: exited.lastLines.map(redact),
      };
      if (exited.cause === 'shutdown') log.info(line, 'egress exited');
      else log.warn(line, 'egress exited');
    }),
    events.on('source.credentials', ({ source, version, principal }) =>
      log.info({ event: 'source.credentials', source, version, principal }, 'credentials replaced'),
    ),
    events.on('source.silent', ({ source, retryAfterMs }) =>
      log.warn({ event: 'source.silent', source, retry_after_ms: retryAfterMs }, 'source does not answer'),
    ),
    events.on('source.answers', ({ source }) =>
      log.info({ event: 'source.answers', source }, 'source answers again'),
    ),
    events.on('restart.requested', ({ path, incarnation, requestedBy }) =>
      log.info(
        { event: 'restart.requested', path, incarnation, requested_by: requestedBy },
        'restart requested',
      ),
    ),
    events.on('fault', ({ where, error }) => log.error({ event: 'fault', where, err: error }, 'fault')),
  ];
  return () => {
    for (const end of subscriptions) end();
  };
}
