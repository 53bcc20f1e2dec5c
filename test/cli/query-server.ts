/** A small HTTP server that speaks the contract's `/v1/query` and `/v1/queries/{id}`, and replies as a test says. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Record<string, unknown>;
}

export type Answer = (response: ServerResponse, request: Received) => void;

export interface QueryServer {
  readonly url: string;
  readonly received: readonly Received[];
  /** Resolves with the next request of this method that nobody has waited for yet. */
  next(method: string): Promise<Received>;
}

/** Answers by method; a method without an answer is a 404 problem. Closed when the test ends. */
export async function queryServer(answers: Readonly<Record<string, Answer>>): Promise<QueryServer> {
  const received: Received[] = [];
  const waiting: { method: string; resolve: (request: Received) => void }[] = [];
  const unseen: Received[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request;
      const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
      const entry = { method, path, headers, body };
      received.push(entry);
      const index = waiting.findIndex((waiter) => waiter.method === method);
      if (index === -1) unseen.push(entry);
      else waiting.splice(index, 1)[0]?.resolve(entry);
      const answer =
        answers[method] ?? problem(404, { code: 'NOT_FOUND', detail: 'There is no such thing.' });
      answer(response, entry);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    next: (method) => {
      const index = unseen.findIndex((request) => request.method === method);
      const [request] = index === -1 ? [] : unseen.splice(index, 1);
      if (request !== undefined) return Promise.resolve(request);
      return new Promise((resolve) => waiting.push({ method, resolve }));
    },
  };
}

export function json(value: unknown, status = 200): Answer {
  return (response) => {
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
  };
}

/** A stream that ended well. */
export function stream(bytes: string | Uint8Array): Answer {
  return (response) => {
    response.writeHead(200, { Trailer: 'X-Query-Status' });
    response.write(bytes);
    response.addTrailers({ 'X-Query-Status': 'succeeded' });
    response.end();
  };
}

export function rows(columns: readonly (readonly [name: string, type: string])[], data: unknown[][]): Answer {
  return json({
    query_id: 'q',
    columns: columns.map(([name, type]) => ({ name, type })),
    data,
    row_count: data.length,
    truncated: false,
    stats: { queue_ms: 0, run_ms: 11, total_ms: 12, rows: data.length, bytes: 1, worker: 'w', attempts: 1 },
  });
}

export function problem(
  status: number,
  members: Readonly<Record<string, unknown>>,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return (response) => {
    response
      .writeHead(status, { 'Content-Type': 'application/problem+json', ...headers })
      .end(JSON.stringify({ type: 'about:blank', title: 't', status, retryable: false, ...members }));
  };
}
