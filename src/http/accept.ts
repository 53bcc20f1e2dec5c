/**
 * Whether the client takes what this server can send (RFC 9110, section 12.5.1).
 */
import type { Context } from 'koa';
import { Failure } from '../failures.ts';

export const EVENT_STREAM = 'text/event-stream';

/** Whether the client wants events rather than a document: it names them, and prefers nothing else. */
export function wantsEventStream(ctx: Context): boolean {
  const { accept } = ctx.req.headers;
  if (accept === undefined || !accept.includes(EVENT_STREAM)) return false;
  return ctx.accepts([EVENT_STREAM, 'application/json']) === EVENT_STREAM;
}

/** For a path that replies with a stream of events and nothing else. Throws `NOT_ACCEPTABLE`. */
export function requireEventStream(ctx: Context): void {
  const { accept } = ctx.req.headers;
  if (accept === undefined || ctx.accepts(EVENT_STREAM) !== false) return;
  throw new Failure(
    'NOT_ACCEPTABLE',
    `Nothing in "Accept: ${accept}" is available; what is: ${EVENT_STREAM}.`,
    {
      members: { available: [EVENT_STREAM] },
    },
  );
}
