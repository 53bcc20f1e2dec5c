/**
 * One request and its reply, as a handler sees them: koa's context, what the route table found, and the few ways
 * to reply. A handler either replies or throws; what it throws becomes a problem document at the edge (app.ts).
 */
import type { Socket } from 'node:net';
import type { Context } from 'koa';
import type { Failure } from '../failures.ts';
import type { Principal } from '../principal.ts';

/** Every reply tells the browser not to guess its type, and every cache not to keep it: replies are live data. */
export const COMMON_HEADERS = {
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store',
} as const;

export interface Exchange {
  readonly ctx: Context;
  readonly parameters: Readonly<Record<string, string>>;
  /** Whoever sent the request; nobody in particular where the route is open. */
  readonly principal: Principal;
  /**
   * To be called once a body is here: throws where its sender may not do this any more, for the key may have been revoked
   * while the body came.
   */
  readonly requireStillAdmitted: () => void;
  /** Set by the handlers of queries as soon as they know it; goes out as `X-Query-Id`, with failures too. */
  queryId: string | undefined;
}

export function replyJson(exchange: Exchange, value: unknown, status = 200): void {
  reply(exchange, status, 'application/json', JSON.stringify(value));
}

export function reply(exchange: Exchange, status: number, contentType: string, body: string): void {
  const { ctx, queryId } = exchange;
  ctx.status = status;
  ctx.set(COMMON_HEADERS);
  ctx.set('Content-Type', contentType);
  if (queryId !== undefined) ctx.set('X-Query-Id', queryId);
  ctx.body = body;
}

/** The one place where a failure becomes bytes. */
export function replyFailure(exchange: Exchange, failure: Failure): void {
  const { ctx, queryId } = exchange;
  ctx.set(failure.headers);
  reply(exchange, failure.status, 'application/problem+json', JSON.stringify(failure.toProblem(queryId)));
  if (!ctx.req.complete && failure.headers.Connection === 'close') replyThenDiscard(ctx);
}

/** Milliseconds for which the rest of a refused body is still taken off the wire. */
const DISCARD_MS = 2_000;

/**
 * Sends the whole reply at once, and closes the connection only when the client has stopped sending, or after
 * {@link DISCARD_MS}. To close a socket that has unread bytes resets it, and a reset destroys the reply on its way
 * to the client (RFC 9112, section 9.6).
 */
function replyThenDiscard(ctx: Context): void {
  const { req, res } = ctx;
  ctx.respond = false;
  if (ctx.method === 'HEAD') res.flushHeaders();
  else res.write(ctx.body);
  const finish = (): void => {
    clearTimeout(timer);
    req.socket.off('close', finish);
    res.end();
  };
  const timer = setTimeout(finish, DISCARD_MS);
  req.socket.once('close', finish);
  req.once('end', finish);
  req.resume();
}

/** True once there is nobody to reply to. */
export function isGone(socket: Socket): boolean {
  return socket.destroyed || !socket.writable;
}
