/**
 * Whether the client takes what this server can send (RFC 9110, section 12.5.1).
 */
import type { Context } from 'koa';
import { Failure } from '../failures.ts';

export const EVENT_STREAM = 'text/event-stream';

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
