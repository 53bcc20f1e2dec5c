/** One request as a client of its own sees it: a reply, a broken one, none in time, or the client has gone away. */
import { type Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Server } from '../client.ts';
import type { HttpReply } from './contract.ts';

export interface ExchangeRequest {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
}

export interface ExchangeOptions {
  /** Undefined for a connection of its own, closed behind it. */
  readonly agent?: Agent;
  /** Milliseconds after which there is no hope of a reply. */
  readonly patienceMs: number;
  /** Milliseconds after which the client closes its connection, whatever it has of a reply. */
  readonly leaveAfterMs?: number;
}

export type Exchanged =
  | { readonly kind: 'reply'; readonly reply: HttpReply }
  /** The connection was refused, reset, or closed before the end of the reply. */
  | { readonly kind: 'broken'; readonly why: string; readonly ms: number }
  | { readonly kind: 'hung'; readonly ms: number }
  | { readonly kind: 'left' };

/** Never rejects. */
export function exchange(
  server: Server,
  { method, path, body }: ExchangeRequest,
  { agent, patienceMs, leaveAfterMs }: ExchangeOptions,
): Promise<Exchanged> {
  const url = new URL(path, server.url);
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const started = performance.now();
  return new Promise((resolve) => {
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
      method,
      agent: agent ?? false,
      headers: {
        ...(payload !== undefined && {
          'Content-Type': 'application/json',
          'Content-Length': Buffer.byteLength(payload),
        }),
        ...(server.key !== undefined && { Authorization: `Bearer ${server.key}` }),
      },
    });
    const timers: NodeJS.Timeout[] = [];
    let isOver = false;
    const end = (exchanged: Exchanged): void => {
      if (isOver) return;
      isOver = true;
      for (const timer of timers) clearTimeout(timer);
      if (exchanged.kind !== 'reply') request.destroy();
      resolve(exchanged);
    };
    const elapsed = () => performance.now() - started;
    const broken = (error: Error) => end({ kind: 'broken', why: error.message || error.name, ms: elapsed() });
    timers.push(setTimeout(() => end({ kind: 'hung', ms: elapsed() }), patienceMs));
    if (leaveAfterMs !== undefined) timers.push(setTimeout(() => end({ kind: 'left' }), leaveAfterMs));
    request.on('error', broken);
    request.on('response', (response: IncomingMessage) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', broken);
      response.on('end', () => {
        const { statusCode: status = 0, headers } = response;
        const text = Buffer.concat(chunks).toString('utf8');
        end({ kind: 'reply', reply: { status, headers, body: text, ms: elapsed() } });
      });
    });
    request.end(payload);
  });
}
