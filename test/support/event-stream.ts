/** A client of a stream of events that keeps all it is told. */
import { type IncomingMessage, request } from 'node:http';
import { createParser } from 'eventsource-parser';
import { onTestFinished } from 'vitest';
import { until } from './test-server.ts';

export interface StreamedEvent {
  readonly id: string;
  readonly type: string;
  readonly [member: string]: unknown;
}

export interface EventStreamClient {
  /** Oldest first. */
  readonly events: readonly StreamedEvent[];
  /** The reply was ended in order, or cut. */
  readonly end: Promise<'ended' | 'cut'>;
  ofType(type: string): StreamedEvent[];
  close(): void;
}

/** Resolves once the stream has begun; closed when the test ends. */
export async function followEvents(
  url: string,
  query = '',
  headers: Readonly<Record<string, string>> = {},
): Promise<EventStreamClient> {
  const client = await streamOf(`${url}/v1/supervision/events${query}`, headers);
  if (query === '') await until('the stream has begun', () => client.events.length > 0);
  return client;
}

/** Resolves once the reply has begun; closed when the test ends. With a `body`, a POST of it as JSON. */
export async function streamOf(
  url: string,
  headers: Readonly<Record<string, string>> = {},
  body?: unknown,
): Promise<EventStreamClient> {
  const events: StreamedEvent[] = [];
  const parser = createParser({
    onEvent: ({ id = '', event = '', data }) =>
      events.push({ ...(JSON.parse(data) as Omit<StreamedEvent, 'id'>), type: event, id }),
  });
  const json = body === undefined ? {} : { Accept: 'text/event-stream', 'Content-Type': 'application/json' };
  const asked = request(url, {
    agent: false,
    method: body === undefined ? 'GET' : 'POST',
    headers: { ...json, ...headers },
  });
  const reply = await new Promise<IncomingMessage>((resolve, reject) => {
    asked.once('error', reject).once('response', resolve);
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
  if (reply.statusCode !== 200) throw new Error(`replied ${reply.statusCode}`);
  reply.setEncoding('utf8').on('data', (text: string) => parser.feed(text));
  const end = new Promise<'ended' | 'cut'>((resolve) => {
    reply.once('error', () => resolve('cut')).once('end', () => resolve('ended'));
  });
  asked.on('error', () => undefined);
  const close = () => void asked.destroy();
  onTestFinished(close);
  const ofType = (type: string) => events.filter((event) => event.type === type);
  return { events, end, ofType, close };
}
