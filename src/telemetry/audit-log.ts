/**
 * The audit log: who ran what, one JSON line each, in a file of its own (docs/security.md). It only listens: nothing waits for it,
 * and nothing fails with it.
 *
 * No credential is in it, and no SQL: a statement is told by its fingerprint, which has no literals. `telemetry.audit_sql` adds the text.
 */
import { join } from 'node:path';
import type { Config } from '../config/schema.ts';
import { fingerprint } from '../crashes/fingerprint.ts';
import type { RequestEvent } from '../http/services.ts';
import { poolLabel } from '../sessions/session-pool.ts';
import { AppendFile } from './append-file.ts';
import type { Events, QueryAsked, ServerEvents } from './events.ts';

export interface AuditSettings {
  /** Undefined for none. */
  readonly path: string | undefined;
  /** With the text of statements. */
  readonly sql: boolean;
}

export function auditSettings({ data_dir, telemetry: { audit, audit_sql } }: Config): AuditSettings {
  const path = audit === true ? join(data_dir, 'audit.jsonl') : audit === false ? undefined : audit;
  return { path, sql: audit_sql };
}

/** Lines a second about those who have no key: strangers shall not fill a disk. */
const STRANGERS_A_SECOND = 10;
/** Characters of what a client has made up. */
const MAX_TEXT = 256;
/** What begins queries: each of these has a line of its own. */
const SUBMISSIONS: ReadonlySet<string | undefined> = new Set(['/v1/query', '/v1/queries']);
const READS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

type Line = Readonly<Record<string, unknown>>;

export class AuditLog {
  readonly #settings: () => AuditSettings;
  readonly #file: AppendFile;
  readonly #subscriptions: readonly (() => void)[];
  #second = 0;
  #strangers = 0;
  #untold = 0;

  /** `settings` is asked at each line; the file is opened anew at each reload, good or not. */
  constructor(events: Events, settings: () => AuditSettings) {
    this.#settings = settings;
    this.#file = new AppendFile({
      onTrouble: (error, path) => events.emit('fault', { where: 'audit log', error: trouble(error, path) }),
      gapLine: (lost) => this.#line('audit.gap', { lost }),
    });
    const reopen = () => this.#file.open(settings().path);
    this.#subscriptions = [
      events.on('query.ended', (event) => this.#queryEnded(event)),
      events.on('query.rejected', ({ queryId, code, asked }) =>
        this.#write('query', { ...this.#asked(queryId, asked), outcome: 'refused', code }),
      ),
      events.on('request.answered', (event) => this.#request(event)),
      events.on('session.opened', ({ sessionId, owner, sources }) =>
        this.#write('session.opened', { session_id: sessionId, principal: owner, sources }),
      ),
      events.on('session.ended', ({ sessionId, owner, why }) =>
        this.#write('session.ended', { session_id: sessionId, principal: owner, why }),
      ),
      events.on('config.reloaded', ({ trigger, version, changes }) => {
        reopen();
        this.#write('config.reloaded', { trigger, version, changes: changes.map(({ path }) => path) });
      }),
      events.on('config.refused', ({ trigger, problems }) => {
        reopen();
        this.#write('config.refused', { trigger, errors: problems.map(({ path }) => path) });
      }),
    ];
    reopen();
  }

  /** Resolves when the last line is written, if it can be. */
  async close(): Promise<void> {
    for (const end of this.#subscriptions) end();
    await this.#file.close();
  }

  #queryEnded({
    queryId,
    pool,
    asked,
    outcome,
    queueMs,
    runMs,
    totalMs,
    ...rest
  }: ServerEvents['query.ended']): void {
    if (this.#settings().path === undefined) return;
    this.#write('query', {
      ...this.#asked(queryId, asked),
      pool: poolLabel(pool),
      outcome: outcome === 'succeeded' ? outcome : outcome === 'QUERY_CANCELLED' ? 'cancelled' : 'failed',
      code: outcome === 'succeeded' ? null : outcome,
      ...(rest.cancelledBy === undefined ? {} : { cancelled_by: rest.cancelledBy }),
      ms: Math.round(totalMs),
      queue_ms: Math.round(queueMs),
      run_ms: Math.round(runMs),
      rows: rest.rows ?? null,
      bytes: rest.bytes ?? null,
      attempts: rest.attempts,
    });
  }

  #asked(queryId: string, { principal, role, client, session, sources, sql, resultOf }: QueryAsked): Line {
    if (this.#settings().path === undefined) return {};
    return {
      query_id: queryId,
      principal,
      role,
      client: client ?? null,
      session_id: session ?? null,
      fingerprint: fingerprint(sql, sources, principal),
      ...(this.#settings().sql ? { sql } : {}),
      ...(resultOf === undefined ? {} : { result_of: resultOf }),
      sources,
    };
  }

  /** What changes something, and what was denied. */
  #request({
    method,
    route,
    status,
    durationMs,
    queryId,
    principal,
    client,
    code,
    parameters,
  }: RequestEvent): void {
    const isStranger = principal.name === '';
    const isDenied = status === 401 || status === 403;
    const isTold = READS.has(method) || SUBMISSIONS.has(route) || route === undefined;
    if (isTold ? !isDenied || (!isStranger && SUBMISSIONS.has(route)) : isStranger && !isDenied) return;
    const suppressed = isStranger ? this.#suppressed() : 0;
    if (suppressed === undefined) return;
    this.#write('request', {
      principal: isStranger ? null : principal.name,
      role: isStranger ? null : principal.role,
      client: client ?? null,
      method: method.slice(0, MAX_TEXT),
      route: route ?? null,
      target: Object.fromEntries(
        Object.entries(parameters).map(([name, value]) => [name, value.slice(0, MAX_TEXT)]),
      ),
      status,
      code: code ?? null,
      ms: Math.round(durationMs),
      query_id: queryId ?? null,
      ...(suppressed > 0 ? { suppressed } : {}),
    });
  }

  /** How many strangers had no line since the last one; undefined where this one shall have none either. */
  #suppressed(): number | undefined {
    const second = Math.floor(performance.now() / 1_000);
    if (second !== this.#second) this.#strangers = 0;
    this.#second = second;
    this.#strangers += 1;
    if (this.#strangers > STRANGERS_A_SECOND) {
      this.#untold += 1;
      return undefined;
    }
    const untold = this.#untold;
    this.#untold = 0;
    return untold;
  }

  #write(event: string, members: Line): void {
    if (this.#settings().path !== undefined) this.#file.write(this.#line(event, members));
  }

  #line(event: string, members: Line): string {
    return JSON.stringify({ time: new Date().toISOString(), event, ...members });
  }
}

function trouble(error: unknown, path: string): Error {
  const why = error instanceof Error ? error.message : String(error);
  return new Error(
    `${path} cannot be written (${why}): lines wait in memory as far as there is room, and are lost then, until it can be`,
    { cause: error },
  );
}
