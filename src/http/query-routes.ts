/**
 * `/v1/query`: run a query and wait for it. `/v1/queries`: queries as resources.
 */
import { randomUUID } from 'node:crypto';
import { type Failure, shuttingDown } from '../failures.ts';
import { EVENT_STREAM, requireEventStream, wantsEventStream } from './accept.ts';
import { lastEventIdOf } from './event-routes.ts';
import { type Exchange, replyJson } from './exchange.ts';
import { chooseFormat, type Format } from './formats.ts';
import { invalidRequest } from './invalid-request.ts';
import { KeptResults, unknownQuery } from './kept-results.ts';
import { readParameters } from './parameters.ts';
import { delivery } from './query-delivery.ts';
import { eventReplies } from './query-events.ts';
import { fieldsOfQueryString, type QueryFields, readQueryFields } from './query-fields.ts';
import {
  EVENTS_OPERATIONS,
  eventParameters,
  ONE_QUERY_OPERATIONS,
  QUERIES_OPERATIONS,
  QUERY_OPERATIONS,
  RESULT_OPERATIONS,
} from './query-operations.ts';
import { isQueryId, type ParsedQuery, type QueryOrigin, queryParser } from './query-request.ts';
import { parseFilter, toDocument } from './query-view.ts';
import { parseResultPage } from './result-parameters.ts';
import { type RouteTable, refuseQueryString } from './routes.ts';
import type { HttpServices } from './services.ts';

export function addQueryRoutes(routes: RouteTable, services: HttpServices): void {
  const { queries, operations, limits } = services;
  const parse = queryParser(services.sources);
  const replyWithEvents = eventReplies(services);

  const deliver = delivery(services);
  const kept = new KeptResults(services, deliver);

  const parseFor = (exchange: Exchange, fields: QueryFields, origin: Partial<QueryOrigin>): ParsedQuery => {
    const { ctx, principal } = exchange;
    const asked = (fields.values as { query_id?: unknown } | null)?.query_id;
    if (isQueryId(asked)) exchange.queryId = asked;
    return parse(fields, {
      queryId: exchange.queryId ?? '',
      principal,
      client: ctx.req.socket.remoteAddress,
      readOnly: false,
      chooseFormat: (asked) => chooseFormat(ctx, asked),
      ...origin,
    });
  };

  const run = async (exchange: Exchange, fields: QueryFields, readOnly: boolean): Promise<void> => {
    const withEvents = wantsEventStream(exchange.ctx);
    const origin = withEvents ? { readOnly, chooseFormat: formatOfEvents } : { readOnly };
    const { format, request, wait } = parseFor(exchange, fields, origin);
    if (withEvents) {
      if (wait !== undefined) throw misplacedWait('events come as they happen');
      await replyWithEvents(exchange, request);
    } else if (wait?.onTimeout === 'continue' || (isNamed(fields) && kept.isKnown(request))) {
      await kept.submitAndWait(exchange, request, wait?.ms);
    } else {
      await deliver(exchange, request, { format, cancelAfterMs: wait?.ms });
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
        await run(exchange, await readQueryFields(exchange, limits.maxBodyBytes), false);
      },
      async GET(exchange) {
        begin(exchange);
        await run(exchange, fieldsOfQueryString(exchange.ctx.querystring), true);
      },
    },
    { head: false, operations: QUERY_OPERATIONS },
  );

  routes.add(
    '/v1/queries',
    {
      async POST(exchange) {
        begin(exchange);
        const fields = await readQueryFields(exchange, limits.maxBodyBytes);
        const chooseFormat = (asked: Format | undefined) => asked ?? 'json';
        const { request, wait } = parseFor(exchange, fields, { chooseFormat });
        if (wait !== undefined) throw misplacedWait('the reply comes at once');
        await kept.submit(exchange, request);
      },
      GET(exchange) {
        const page = queries.list(parseFilter(exchange.ctx.querystring), exchange.principal);
        replyJson(exchange, { queries: page.queries.map(toDocument), next: page.next ?? null });
      },
    },
    { operations: QUERIES_OPERATIONS },
  );

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
    { head: false, operations: EVENTS_OPERATIONS },
  );

  routes.add(
    '/v1/queries/{id}/result',
    {
      async GET(exchange) {
        if (operations.isDraining()) throw shuttingDown({ Connection: 'close' });
        const queryId = queryIdInPath(exchange);
        const delivery = queries.get(queryId, exchange.principal)?.kept?.delivery;
        await kept.reply(exchange, queryId, parseResultPage(exchange.ctx, delivery));
      },
    },
    { head: false, operations: RESULT_OPERATIONS },
  );

  routes.add(
    '/v1/queries/{id}',
    {
      GET(exchange) {
        refuseQueryString(exchange);
        const queryId = queryIdInPath(exchange);
        const view = queries.get(queryId, exchange.principal);
        if (!view) throw unknownQuery(queryId);
        replyJson(exchange, toDocument(view));
      },
      async DELETE(exchange) {
        refuseQueryString(exchange);
        const queryId = queryIdInPath(exchange);
        const outcome = await queries.cancel(queryId, exchange.principal);
        if (outcome === undefined) throw unknownQuery(queryId);
        // It may have ended well before it could be stopped: what is not wanted any more is not kept either.
        const dropped = queries.dropResult(queryId, exchange.principal);
        replyJson(exchange, dropped ? { outcome, result: 'deleted' } : { outcome });
      },
    },
    { operations: ONE_QUERY_OPERATIONS },
  );
}

/** Events carry the result as the JSON reply does. */
function formatOfEvents(asked: Format | undefined): 'json' {
  if (asked === undefined || asked === 'json') return 'json';
  const message = `events carry a result as json; ask for ${asked} without "Accept: ${EVENT_STREAM}"`;
  throw invalidRequest([{ path: 'format', message }]);
}

function queryIdInPath(exchange: Exchange): string {
  const queryId = exchange.parameters.id ?? '';
  if (!isQueryId(queryId)) throw unknownQuery(queryId);
  exchange.queryId = queryId;
  return queryId;
}

/** Whether the client gave the query its id; nobody else has one that was made here. */
function isNamed({ values }: QueryFields): boolean {
  return isQueryId((values as { query_id?: unknown } | null)?.query_id);
}

function misplacedWait(why: string): Failure {
  return invalidRequest([{ path: 'wait_ms', message: `is of no use here: ${why}` }]);
}
