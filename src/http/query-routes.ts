/**
 * `/v1/query`: run a query and wait for it. `/v1/queries`: queries as resources.
 */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { QueryView } from '../actors/query.ts';
import { progressMembers } from '../actors/query-feed.ts';
import { Failure, shuttingDown, toFailure } from '../failures.ts';
import { EVENT_STREAM, requireEventStream, wantsEventStream } from './accept.ts';
import { lastEventIdOf } from './event-routes.ts';
import { type Exchange, isGone, replyJson } from './exchange.ts';
import { chooseFormat, type Format } from './formats.ts';
import { invalidRequest } from './invalid-request.ts';
import { pageLimit, readParameters } from './parameters.ts';
import { eventReplies } from './query-events.ts';
import { fieldsOfQueryString, type QueryFields, readQueryFields } from './query-fields.ts';
import { replyResult } from './query-reply.ts';
import { isQueryId, queryParser } from './query-request.ts';
import { ClientGone } from './request-body.ts';
import { type RouteTable, refuseQueryString } from './routes.ts';
import type { HttpServices } from './services.ts';
import { StreamReply } from './stream-reply.ts';

export function addQueryRoutes(routes: RouteTable, services: HttpServices): void {
  const { queries, operations, limits } = services;
  const parse = queryParser(services.sources);
  const replyWithEvents = eventReplies(services);

  const run = async (exchange: Exchange, fields: QueryFields, readOnly: boolean): Promise<void> => {
    const { ctx, principal } = exchange;
    const asked = (fields.values as { query_id?: unknown } | null)?.query_id;
    if (isQueryId(asked)) exchange.queryId = asked;
    const withEvents = wantsEventStream(ctx);
    const { format, request } = parse(fields, {
      queryId: idOf(exchange),
      principal,
      readOnly,
      chooseFormat: (asked) => (withEvents ? formatOfEvents(asked) : chooseFormat(ctx, asked)),
    });
    const { socket } = ctx.req;
    if (isGone(socket)) throw new ClientGone('The client was gone before its query began');
    if (withEvents) return await replyWithEvents(exchange, request);
    const stream = format === 'json' ? undefined : new StreamReply(exchange, format, request.queryId);
    const running = queries.run(request, stream);
    const abandon = (): void => running.abandon();
    socket.once('close', abandon);
    try {
      const result = await running.result;
      if (isGone(socket)) throw new ClientGone('The client did not wait for its result');
      if (stream === undefined) {
        await replyResult(exchange, running.queryId, result, limits.maxResultBytes);
      } else {
        await stream.end(result);
      }
    } catch (error) {
      if (stream?.committed !== true) throw error;
      await stream.cut(toFailure(error));
    } finally {
      socket.off('close', abandon);
    }
  };

  const begin = (exchange: Exchange): void => {
    exchange.queryId = `q-${randomUUID()}`;
    if (operations.isDraining()) throw shuttingDown({ Connection: 'close' });
  };

  routes.add(
    '/v1/query',
    {
      async POST(exchange) {
        begin(exchange);
        await run(exchange, await readQueryFields(exchange.ctx, limits.maxBodyBytes), false);
      },
      async GET(exchange) {
        begin(exchange);
        await run(exchange, fieldsOfQueryString(exchange.ctx.querystring), true);
      },
    },
    { head: false },
  );

  routes.add('/v1/queries', {
    GET(exchange) {
      const { session, ...filter } = parseFilter(exchange.ctx.querystring);
      const page =
        session === undefined ? queries.list(filter, exchange.principal) : { queries: [], next: undefined };
      replyJson(exchange, { queries: page.queries.map(toWire), next: page.next ?? null });
    },
  });

  routes.add(
    '/v1/queries/{id}/events',
    {
      GET(exchange) {
        const { ctx, principal } = exchange;
        const { last_event_id } = readParameters(ctx.querystring, eventParameters);
        requireEventStream(ctx);
        const queryId = queryIdInPath(exchange);
        services.eventStreams.requireRoom();
        const feed = queries.follow(queryId, principal);
        if (feed === undefined) throw unknownQuery(queryId);
        const lastEventId = lastEventIdOf(ctx, last_event_id) ?? '0';
        services.eventStreams.open(exchange, { ring: feed.ring, lastEventId, types: undefined });
      },
    },
    { head: false },
  );

  routes.add('/v1/queries/{id}', {
    GET(exchange) {
      refuseQueryString(exchange);
      const queryId = queryIdInPath(exchange);
      const view = queries.get(queryId, exchange.principal);
      if (!view) throw unknownQuery(queryId);
      replyJson(exchange, toWire(view));
    },
    async DELETE(exchange) {
      refuseQueryString(exchange);
      const queryId = queryIdInPath(exchange);
      const outcome = await queries.cancel(queryId, exchange.principal);
      if (outcome === undefined) throw unknownQuery(queryId);
      replyJson(exchange, { outcome });
    },
  });
}

/** Events carry the result as the JSON reply does. */
function formatOfEvents(asked: Format | undefined): 'json' {
  if (asked === undefined || asked === 'json') return 'json';
  const message = `events carry a result as json; ask for ${asked} without "Accept: ${EVENT_STREAM}"`;
  throw invalidRequest([{ path: 'format', message }]);
}

const eventParameters = z.strictObject({ last_event_id: z.string().optional() });

const filterSchema = z.strictObject({
  state: z
    .enum(['queued', 'running', 'succeeded', 'failed', 'cancelled'], {
      error: 'expected queued, running, succeeded, failed or cancelled',
    })
    .optional(),
  pool: z.string().optional(),
  session: z.string().optional(),
  limit: pageLimit(),
  cursor: z.string().optional(),
});

function parseFilter(querystring: string) {
  const { state, pool, session, limit, cursor } = readParameters(querystring, filterSchema);
  return { state, pool, session, limit, cursor };
}

/** A query as the contract shows it; what is not known yet is null. */
function toWire(view: QueryView): Record<string, unknown> {
  return {
    query_id: view.queryId,
    state: view.state,
    pool: view.pool,
    principal: view.principal,
    session_id: null,
    submitted_at: view.submittedAt,
    queue_ms: Math.round(view.queueMs),
    run_ms: Math.round(view.runMs),
    rows: view.rows ?? null,
    bytes: view.bytes ?? null,
    attempts: view.attempts,
    worker: view.worker ?? null,
    progress: view.progress === undefined ? null : progressMembers(view.progress),
    error: view.error?.toProblem(view.queryId) ?? null,
    tags: view.tags,
  };
}

function queryIdInPath(exchange: Exchange): string {
  const queryId = exchange.parameters.id ?? '';
  if (!isQueryId(queryId)) throw unknownQuery(queryId);
  exchange.queryId = queryId;
  return queryId;
}

function idOf(exchange: Exchange): string {
  return exchange.queryId ?? '';
}

function unknownQuery(queryId: string): Failure {
  return new Failure('NOT_FOUND', `There is no query ${JSON.stringify(queryId)}, or not any more.`);
}
