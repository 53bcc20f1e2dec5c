/**
 * The reply to a query as a stream: a worker's bytes as they come, with the client's own pace.
 *
 * ```
 *            64 KB, or the end                 the verdict
 *   held back ---------------> begun (200) ---------------------> ended, with trailers
 *      |                         |
 *      | failure                 | failure
 *      v                         v
 *   a problem document        cut: without the final chunk
 * ```
 * Held back, the bytes of an attempt can be void and another one's take their place. A reply that was cut cannot be taken for a
 * whole one: the final chunk is missing (RFC 9112, section 8), and to a client of HTTP/1.0 the connection is reset.
 */
import type { ServerResponse } from 'node:http';
import type { ResultSink } from '../actors/job.ts';
import type { QueryResult } from '../actors/query.ts';
import type { Failure } from '../failures.ts';
import { giveBack } from '../workers/read-buffers.ts';
import { Compressor, chooseEncoding, headersOf, WORTH_BYTES } from './compression.ts';
import { COMMON_HEADERS, type Exchange, isGone } from './exchange.ts';
import { type Format, MEDIA_TYPES } from './formats.ts';

/** What a reply begins with is held back until there is more of it. */
const HELD_BYTES = 64 * 1024;
/** Bytes that wait for the client, past which no more are taken from the worker. */
const WAITING_BYTES = 64 * 1024;

const NEWLINE = 0x0a;

/**
 * The beginning of a message that is longer than anything: a reader that comes to the end of the bytes between two messages takes
 * that for the end of the stream (Arrow Columnar Format, "IPC Streaming Format": the end-of-stream marker is optional).
 */
const ARROW_WITHOUT_END = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);

export class StreamReply implements ResultSink {
  readonly #exchange: Exchange;
  readonly #res: ServerResponse;
  readonly #format: Exclude<Format, 'json'>;
  readonly #queryId: string;
  /** Where the client takes it compressed. */
  #compressor: Compressor | undefined;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #begun = false;
  #discarding = false;
  #lastByte = NEWLINE;
  /** Bytes of the result that have been sent; messages of Arrow begin at multiples of eight. */
  #sent = 0;
  /** Bytes that are with node, and not yet with the system. */
  #waiting = 0;
  #onSent: (() => void) | undefined;
  /** Ends the wait for room. */
  #room: (() => void) | undefined;

  constructor(exchange: Exchange, format: Exclude<Format, 'json'>, queryId: string) {
    this.#exchange = exchange;
    this.#res = exchange.ctx.res;
    this.#format = format;
    this.#queryId = queryId;
  }

  get committed(): boolean {
    return this.#begun;
  }

  get delivered(): number {
    return this.#sent;
  }

  write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.#discarding) {
      giveBack(bytes);
      return undefined;
    }
    if (this.#begun) return this.#send(bytes);
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
    if (this.#heldBytes < HELD_BYTES) return undefined;
    return this.#begin();
  }

  reset(): void {
    for (const bytes of this.#held) giveBack(bytes);
    this.#held = [];
    this.#heldBytes = 0;
  }

  discard(): void {
    this.#discarding = true;
    this.#room?.();
  }

  /** The query has succeeded, and all of its bytes are here. Resolves when the client has them, or is gone. */
  async end({ rowCount, truncated }: QueryResult): Promise<void> {
    if (!this.#begun) await this.#begin();
    const { socket } = this.#exchange.ctx.req;
    const isWhole = (await this.#compressor?.end()) ?? true;
    this.#compressor?.destroy();
    if (isGone(socket)) return;
    if (!isWhole) {
      socket.resetAndDestroy();
      return;
    }
    if (hasTrailers(this.#exchange)) {
      this.#res.addTrailers({
        'X-Query-Status': 'succeeded',
        'X-Query-Rows': String(rowCount),
        ...(truncated ? { 'X-Query-Truncated': 'true' } : {}),
      });
    }
    // Ended only when the last byte is gone: node takes an ended reply for an idle connection (query-reply.ts).
    await this.#until(1);
    this.#res.end();
  }

  /** The query has failed after its reply had begun. */
  async cut(failure: Failure): Promise<void> {
    const { req } = this.#exchange.ctx;
    const { socket } = req;
    const last = isGone(socket) ? undefined : this.#lastWord(failure);
    if (last !== undefined) {
      if (this.#compressor === undefined) this.#put(last);
      else await this.#compressor.write(last);
    }
    this.#compressor?.destroy();
    if (isGone(socket)) return;
    await this.#until(1);
    if (hasTrailers(this.#exchange)) socket.destroySoon();
    else socket.resetAndDestroy();
  }

  /** What a cut reply ends with, for whoever reads it without minding how the connection ended. */
  #lastWord(failure: Failure): Uint8Array | undefined {
    const error = JSON.stringify({ error: failure.toProblem(this.#queryId) });
    switch (this.#format) {
      case 'ndjson':
        return Buffer.from(`${this.#lastByte === NEWLINE ? '' : '\n'}${error}\n`);
      case 'arrow':
        return Buffer.concat([new Uint8Array(-this.#sent & 7), ARROW_WITHOUT_END, Buffer.from(error)]);
      default:
        return undefined;
    }
  }

  #begin(): Promise<void> | undefined {
    this.#begun = true;
    const { ctx } = this.#exchange;
    ctx.respond = false;
    const { type, extension, isFile } = MEDIA_TYPES[this.#format];
    // With so little held back that is the whole of it.
    const encoding = this.#heldBytes < WORTH_BYTES ? undefined : chooseEncoding(ctx, this.#format);
    if (encoding !== undefined)
      this.#compressor = new Compressor(encoding, (bytes) => this.#putIfHeard(bytes));
    const name = `attachment; filename="${this.#queryId}.${extension}"`;
    this.#res.writeHead(200, {
      'Content-Type': type,
      'X-Query-Id': this.#queryId,
      ...(isFile ? { 'Content-Disposition': name } : {}),
      ...(hasTrailers(this.#exchange)
        ? { Trailer: 'X-Query-Status, X-Query-Rows, X-Query-Truncated' }
        : { Connection: 'close' }),
      ...headersOf(encoding),
      ...COMMON_HEADERS,
    });
    const held = Buffer.concat(this.#held);
    this.reset();
    return this.#send(held);
  }

  #send(bytes: Uint8Array): Promise<void> | undefined {
    if (bytes.length === 0 || isGone(this.#exchange.ctx.req.socket)) {
      giveBack(bytes);
      return undefined;
    }
    this.#lastByte = bytes[bytes.length - 1] as number;
    this.#sent += bytes.length;
    if (this.#compressor !== undefined) {
      return this.#compressor.write(bytes).then(() => {
        giveBack(bytes);
        return this.#whenRoom();
      });
    }
    this.#put(bytes);
    return this.#whenRoom();
  }

  #whenRoom(): Promise<void> | undefined {
    // What comes of an attempt that is being stopped is waited for by nobody.
    return this.#waiting < WAITING_BYTES || this.#discarding ? undefined : this.#until(WAITING_BYTES);
  }

  /** The client may go while its bytes are compressed. */
  #putIfHeard(bytes: Uint8Array): void {
    if (!isGone(this.#exchange.ctx.req.socket)) this.#put(bytes);
  }

  #put(bytes: Uint8Array): void {
    this.#waiting += bytes.length;
    this.#res.write(bytes, () => {
      this.#waiting -= bytes.length;
      giveBack(bytes);
      this.#onSent?.();
    });
  }

  /** Until fewer bytes wait for the client, or it is gone, or nobody wants to know. */
  #until(bytes: number): Promise<void> {
    const { socket } = this.#exchange.ctx.req;
    return new Promise((resolve) => {
      const done = (): void => {
        socket.off('close', done);
        this.#onSent = undefined;
        this.#room = undefined;
        resolve();
      };
      this.#onSent = () => {
        if (this.#waiting < bytes) done();
      };
      this.#room = done;
      // A pipelined reply waits for its turn without a socket, and never hears that it closed.
      socket.once('close', done);
      this.#onSent();
    });
  }
}

/** There are none, nor chunks, before HTTP/1.1. */
function hasTrailers({ ctx: { req } }: Exchange): boolean {
  return req.httpVersionMajor > 1 || req.httpVersionMinor >= 1;
}
