/**
 * A query as events: the reply to whoever sends it with `Accept: text/event-stream`, and `GET /v1/queries/{id}/events` for those
 * who come later, or come back.
 */
import type { QueryRequest } from '../actors/query.ts';
import { FINAL_EVENTS, QUERY_EVENTS, type QueryFeed } from '../actors/query-feed.ts';
import { type Failure, toFailure } from '../failures.ts';
import { EventStreams, type OpenStream } from './event-streams.ts';
import { type Exchange, isGone } from './exchange.ts';
import { resultDocument } from './query-reply.ts';
import { ClientGone } from './request-body.ts';
import type { HttpServices } from './services.ts';

/** Queries that reply with events at the same time. */
const MAX_REPLIES = 1_000;

/** The last event of a reply has the result, which its ring has not. */
const ON_THE_WAY: ReadonlySet<string> = new Set(QUERY_EVENTS.filter((type) => !FINAL_EVENTS.has(type)));

export type ReplyWithEvents = (exchange: Exchange, request: QueryRequest) => Promise<void>;

/**
 * What runs a query and replies with its events: `succeeded` with the document that the JSON reply would be, `failed` or
 * `cancelled` with the problem document. What is refused before it is admitted is an ordinary error. A client that leaves
 * stops its query.
 */
export function eventReplies({ queries, limits }: Pick<HttpServices, 'queries' | 'limits'>): ReplyWithEvents {
  // Not those of whoever only watches: no change of keys, and no shutdown, ends these before their queries have ended.
  const streams = new EventStreams({ max: MAX_REPLIES });
  return async (exchange, request) => {
    const { socket } = exchange.ctx.req;
    streams.requireRoom();
    let stream: OpenStream | undefined;
    const begin = ({ ring }: QueryFeed): void => {
      if (!isGone(socket)) stream = streams.open(exchange, { ring, lastEventId: '0', types: ON_THE_WAY });
    };
    const running = queries.run(request, undefined, begin);
    const abandon = (): void => running.abandon();
    socket.once('close', abandon);
    try {
      const result = await running.result;
      if (isGone(socket) || stream === undefined)
        throw new ClientGone('The client did not wait for its result');
      stream.finish('succeeded', resultDocument(request.queryId, result, limits.maxResultBytes));
    } catch (error) {
      if (error instanceof ClientGone || stream === undefined) throw error;
      finishWith(stream, toFailure(error), request.queryId);
    } finally {
      socket.off('close', abandon);
    }
  };
}

function finishWith(stream: OpenStream, failure: Failure, queryId: string): void {
  const type = failure.code === 'QUERY_CANCELLED' ? 'cancelled' : 'failed';
  stream.finish(type, [Buffer.from(JSON.stringify(failure.toProblem(queryId)))]);
}
