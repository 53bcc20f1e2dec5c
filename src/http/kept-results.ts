/**
 * Queries that nobody has to wait for: sent with `POST /v1/queries`, or with `wait_ms`. Their results are kept, and fetched as
 * often as anybody likes, in any format, page by page; each fetch is a query of its own that reads the kept file.
 */
import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import type { Delivery, QueryRequest, QueryView } from '../actors/query.ts';
import { revealed } from '../config/secret.ts';
import { Failure } from '../failures.ts';
import { sessionOfPool } from '../sessions/session-pool.ts';
import { type Exchange, isGone, replyJson } from './exchange.ts';
import type { Format } from './formats.ts';
import { invalidRequest } from './invalid-request.ts';
import type { Deliver } from './query-delivery.ts';
import { ClientGone } from './request-body.ts';
import type { HttpServices } from './services.ts';

/** What is wanted of a result. */
export interface ResultPage extends Delivery {
  /** The first row, from 0. */
  readonly offset: number;
  /** Rows at most; undefined for all. */
  readonly limit: number | undefined;
}

/** Seconds after which a result that is not there yet may be asked for again. */
const RETRY_AFTER = 1;

/** The request of a query whose result is kept. Throws `INVALID_REQUEST` for what such a query cannot have. */
export function keeping(request: QueryRequest): QueryRequest {
  if (request.byteLimit !== undefined) {
    const message =
      'a result that is kept has no format yet, and so no bytes to be cut at; row_limit cuts it';
    throw invalidRequest([{ path: 'byte_limit', message }]);
  }
  const { output, rowFormat } = request;
  return {
    ...request,
    output: undefined,
    keep: { digest: digestOf(request), delivery: { output, rowFormat } },
  };
}

/** Of this process: no digest tells anybody anything about the credentials that went into it. */
const DIGEST_KEY = randomBytes(32);

/** Tells one submission from another with the same id, whatever becomes of the result. */
function digestOf(request: QueryRequest): string {
  const { sql, params, pool, session, timeoutMs, queueTimeoutMs } = request;
  const sources = [request.sources, revealed(request.inline ?? [])];
  const { rowLimit, memoryLimit, threads, tags } = request;
  const where = session === undefined ? pool : { session };
  const said = [sql, params, sources, where, timeoutMs, queueTimeoutMs, rowLimit, memoryLimit, threads, tags];
  return createHmac('sha256', DIGEST_KEY)
    .update(JSON.stringify(said.map((value) => value ?? null)))
    .digest('base64url');
}

export class KeptResults {
  readonly #queries: HttpServices['queries'];
  readonly #deliver: Deliver;

  constructor({ queries }: Pick<HttpServices, 'queries'>, deliver: Deliver) {
    this.#queries = queries;
    this.#deliver = deliver;
  }

  /** Whether there is such a query of the same principal's already, whose result is or will be kept. */
  isKnown(request: QueryRequest): boolean {
    const view = this.#queries.get(request.queryId, request.principal);
    if (view?.kept === undefined || view.principal !== request.principal.name) return false;
    return view.kept.digest === digestOf(request);
  }

  /** Replies with 202 once the query is in the queue. */
  async submit(exchange: Exchange, request: QueryRequest): Promise<void> {
    replyAccepted(exchange, await this.#queries.submit(keeping(request)));
  }

  /**
   * Replies with the result, or with 202 where it is not there within `waitMs`; waits to the end without. A client that leaves
   * does not stop the query.
   */
  async submitAndWait(exchange: Exchange, request: QueryRequest, waitMs: number | undefined): Promise<void> {
    const { queryId, principal, output, rowFormat } = request;
    const { socket } = exchange.ctx.req;
    const view = await this.#queries.submit(keeping(request));
    if (!(await within(waitMs, this.#queries.ended(queryId), socket))) {
      if (isGone(socket)) throw new ClientGone('The client did not wait for its result');
      replyAccepted(exchange, this.#queries.get(queryId, principal) ?? view);
      return;
    }
    await this.reply(exchange, queryId, { output, rowFormat, offset: 0, limit: undefined });
  }

  /** Replies with a page of the result. Throws a {@link Failure}: that of the query, `RESULT_NOT_READY`, `NOT_FOUND`. */
  async reply(exchange: Exchange, queryId: string, page: ResultPage): Promise<void> {
    const { principal } = exchange;
    const view = this.#queries.get(queryId, principal);
    if (view === undefined) throw unknownQuery(queryId);
    requireResult(view);
    const result = this.#queries.open(queryId, principal);
    if (result === undefined) {
      throw new Failure(
        'NOT_FOUND',
        `The result of query ${queryId} is not kept any more: its time was over, or it was deleted.`,
      );
    }
    try {
      const { offset, output, rowFormat } = page;
      const rows = view.rows ?? 0;
      const limit = Math.min(page.limit ?? rows, Math.max(0, rows - offset));
      tellPosition(exchange, queryId, { offset, limit, rows });
      const request = readOf(view, { output, rowFormat }, exchange, { path: result.path, offset, limit });
      const of = { queryId, truncated: view.kept?.truncated ?? false };
      await this.#deliver(exchange, request, { format: formatOf(output), of });
    } finally {
      result.release();
    }
  }
}

export function formatOf(output: Delivery['output']): Format {
  return output?.format ?? 'json';
}

export function unknownQuery(queryId: string): Failure {
  return new Failure(
    'NOT_FOUND',
    `There is no query ${JSON.stringify(queryId)}, or not any more: the server forgets the oldest ones that have ended, and all of them when it is started anew.`,
  );
}

function requireResult({ queryId, state, error, kept }: QueryView): void {
  if (error !== undefined) throw error;
  if (kept === undefined) {
    throw new Failure(
      'NOT_FOUND',
      `The result of query ${queryId} went to whoever sent it. That of a query sent with POST /v1/queries, or with wait_ms, is kept.`,
    );
  }
  if (state !== 'succeeded') {
    throw new Failure('RESULT_NOT_READY', `Query ${queryId} has no result yet: it is ${state}.`, {
      retryAfter: RETRY_AFTER,
    });
  }
}

/** How many rows there are, and where the next page begins (RFC 8288). */
function tellPosition(
  { ctx }: Exchange,
  queryId: string,
  { offset, limit, rows }: { readonly offset: number; readonly limit: number; readonly rows: number },
): void {
  ctx.res.setHeader('X-Result-Rows', String(rows));
  const next = offset + limit;
  if (next >= rows || limit === 0) return;
  const parameters = new URLSearchParams(ctx.querystring);
  parameters.set('offset', String(next));
  ctx.res.setHeader('Link', `</v1/queries/${encodeURIComponent(queryId)}/result?${parameters}>; rel="next"`);
}

/** Its text names the result, so that one which crashes workers is told from all others (crashes/fingerprint.ts). */
function readOf(
  { queryId, pool }: QueryView,
  delivery: Delivery,
  { principal, ctx }: Exchange,
  kept: NonNullable<QueryRequest['kept']>,
): QueryRequest {
  return {
    ...delivery,
    queryId: `q-${randomUUID()}`,
    sql: `FROM "result of ${queryId}"`,
    kept,
    // Of a session it is read elsewhere: that may be busy, and may have ended.
    pool: sessionOfPool(pool) === undefined ? pool : undefined,
    principal,
    client: ctx.req.socket.remoteAddress,
    params: undefined,
    sources: [],
    timeoutMs: undefined,
    queueTimeoutMs: undefined,
    rowLimit: undefined,
    byteLimit: undefined,
    memoryLimit: undefined,
    threads: undefined,
    readOnly: true,
    tags: { result_of: queryId },
  };
}

function replyAccepted(exchange: Exchange, { queryId, state }: QueryView): void {
  exchange.ctx.set('Location', `/v1/queries/${encodeURIComponent(queryId)}`);
  replyJson(exchange, { query_id: queryId, state }, 202);
}

/** Whether it came to pass before the time was over, and before the client left. */
async function within(
  ms: number | undefined,
  event: Promise<void>,
  socket: Exchange['ctx']['req']['socket'],
): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  let onClose = (): void => undefined;
  const over = new Promise<false>((resolve) => {
    onClose = () => resolve(false);
    socket.once('close', onClose);
    if (ms !== undefined) timer = setTimeout(onClose, ms);
  });
  try {
    return await Promise.race([event.then(() => true), over]);
  } finally {
    clearTimeout(timer);
    socket.off('close', onClose);
  }
}
