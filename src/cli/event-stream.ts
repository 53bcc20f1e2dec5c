/**
 * A stream of the server's events, followed for as long as anybody wants: when it ends or breaks, it is taken up again behind the
 * last event that came.
 */
import type { IncomingMessage } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';
import { explained, notDuckcoop } from './ask.ts';
import { ProblemError, type Server, send } from './client.ts';
import { messageOf } from './exit.ts';

export type StreamNews =
  | { readonly kind: 'connected' }
  | { readonly kind: 'event'; readonly type: string; readonly data: string }
  /** Nothing happened, and the server is there. */
  | { readonly kind: 'heartbeat' }
  | { readonly kind: 'lost'; readonly why: string; readonly retryMs: number };

const PATH = 'v1/supervision/events';
/** Milliseconds without a byte after which a connection is dead: the server says something every 15 s. */
const SILENCE_MS = 45_000;
/** Milliseconds from a lost connection to the next attempt, until the server says how many. */
const RETRY_MS = 2_000;
const RETRY_BOUNDS = { min: 100, max: 60_000 };
/** Characters of one event; what is longer is none of ours. */
const MAX_EVENT = 1_000_000;

/**
 * Ends when the signal is aborted. Throws a {@link CliError} if the first connection cannot be had, and at any time when the
 * server refuses for good.
 */
export async function* followEvents(
  server: Server,
  signal: AbortSignal,
  path = PATH,
): AsyncGenerator<StreamNews> {
  let lastEventId: string | undefined;
  let retryMs = RETRY_MS;
  let begun = false;
  while (!signal.aborted) {
    let why = 'the server ended the stream';
    try {
      const headers = {
        Accept: 'text/event-stream',
        ...(lastEventId !== undefined && { 'Last-Event-ID': lastEventId }),
      };
      const reply = await send(server, 'GET', path, { headers, signal });
      if (!/^text\/event-stream\b/.test(reply.headers['content-type'] ?? '')) throw notDuckcoop(server);
      begun = true;
      yield { kind: 'connected' };
      for await (const { news, id, retry } of parsed(reply)) {
        lastEventId = id ?? lastEventId;
        if (retry !== undefined) retryMs = Math.max(RETRY_BOUNDS.min, Math.min(RETRY_BOUNDS.max, retry));
        if (news !== undefined) yield news;
      }
    } catch (error) {
      if (signal.aborted) return;
      const isFinal = error instanceof ProblemError && error.problem.retryable !== true;
      if (!begun || isFinal) throw explained(error, server);
      why = messageOf(error);
    }
    yield { kind: 'lost', why, retryMs };
    await pause(retryMs, undefined, { signal }).catch(() => undefined);
  }
}

interface Parsed {
  readonly news?: StreamNews;
  readonly id?: string;
  readonly retry?: number;
}

async function* parsed(reply: IncomingMessage): AsyncGenerator<Parsed> {
  const found: Parsed[] = [];
  let broken: Error | undefined;
  const parser = createParser({
    onEvent: ({ event = 'message', data, id }) => {
      // One that cannot be a header's value cannot be sent back.
      const sendable = id !== undefined && /^[\x21-\x7e]+$/.test(id);
      found.push({ news: { kind: 'event', type: event, data }, ...(sendable && { id }) });
    },
    onComment: () => found.push({ news: { kind: 'heartbeat' } }),
    onRetry: (retry) => found.push({ retry }),
    onError: (error) => {
      if (error.type === 'max-buffer-size-exceeded') broken = error;
    },
    maxBufferSize: MAX_EVENT,
  });
  reply.setEncoding('utf8').setTimeout(SILENCE_MS, () => reply.destroy(new Error('the server fell silent')));
  for await (const text of reply) {
    parser.feed(text as string);
    yield* found.splice(0);
    if (broken !== undefined) throw broken;
  }
}
