/** Runs a query for a client that waits, and replies with its result: whole as JSON, or as a stream. */
import type { QueryRequest } from '../actors/query.ts';
import { toFailure } from '../failures.ts';
import { type Exchange, isGone } from './exchange.ts';
import type { Format } from './formats.ts';
import { replyResult } from './query-reply.ts';
import { ClientGone } from './request-body.ts';
import type { HttpServices } from './services.ts';
import { StreamReply } from './stream-reply.ts';

export interface DeliveryOptions {
  readonly format: Format;
  /** Milliseconds after which a query whose reply has not begun is cancelled. */
  readonly cancelAfterMs?: number | undefined;
  /** For a page of a kept result: the query that it is the result of, and whether more was cut off that. */
  readonly of?: { readonly queryId: string; readonly truncated: boolean };
}

export type Deliver = (exchange: Exchange, request: QueryRequest, options: DeliveryOptions) => Promise<void>;

export function delivery({ queries, limits }: Pick<HttpServices, 'queries' | 'limits'>): Deliver {
  return async (exchange, request, { format, cancelAfterMs, of }) => {
    const { socket } = exchange.ctx.req;
    if (isGone(socket)) throw new ClientGone('The client was gone before its query began');
    const queryId = of?.queryId ?? request.queryId;
    const stream = format === 'json' ? undefined : new StreamReply(exchange, format, queryId);
    const running = queries.run(request, stream);
    const abandon = (): void => running.abandon();
    socket.once('close', abandon);
    const timer =
      cancelAfterMs === undefined
        ? undefined
        : setTimeout(() => {
            if (stream?.committed !== true) running.abandon('its own wait_ms');
          }, cancelAfterMs);
    try {
      const own = await running.result;
      const result = of === undefined ? own : { ...own, truncated: own.truncated || of.truncated };
      if (isGone(socket)) throw new ClientGone('The client did not wait for its result');
      if (stream === undefined) await replyResult(exchange, queryId, result, limits.maxResultBytes);
      else await stream.end(result);
    } catch (error) {
      if (stream?.committed !== true) throw error;
      await stream.cut(toFailure(error));
    } finally {
      clearTimeout(timer);
      socket.off('close', abandon);
    }
  };
}
