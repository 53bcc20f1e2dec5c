/**
 * Streams of events to clients (server-sent events; WHATWG HTML, section 9.2): of all that concerns operators, or of one query.
 *
 * A stream is a place in a ring of events and nothing else: it reads on as fast as its client does. What is kept for a client is
 * what its socket holds, so a slow one costs no memory; when it falls behind the ring's oldest event it is disconnected,
 * comes back with `Last-Event-ID`, and is told how much it has missed.
 */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Failure, shuttingDown } from '../failures.ts';
import type { EventRing, Position } from '../telemetry/event-ring.ts';
import { EVENT_STREAM } from './accept.ts';
import { COMMON_HEADERS, type Exchange, isGone } from './exchange.ts';
import { writeAll } from './query-reply.ts';
import { ClientGone } from './request-body.ts';

export interface EventStreamsOptions {
  /** Streams that may be open at the same time. */
  readonly max?: number;
  /** Milliseconds from one sign of life to the next, for proxies that end silent connections. */
  readonly heartbeatMs?: number;
}

export interface StreamRequest {
  readonly ring: EventRing;
  /** The last event that the client has seen; undefined for one that is new. */
  readonly lastEventId: string | undefined;
  /** Which events it wants; undefined for all. */
  readonly types: ReadonlySet<string> | undefined;
}

/** A stream that its opener ends. */
export interface OpenStream {
  /** Sends what there is, then a last event of the opener's own, its data in pieces without a line end, and ends the reply. */
  finish(type: string, json: readonly Uint8Array[]): void;
}

const MAX_STREAMS = 100;
const HEARTBEAT_MS = 15_000;
/** Milliseconds after which a client that was disconnected shall come back. */
const RETRY_MS = 2_000;
/** Seconds after which a client that was refused may try again. */
const RETRY_AFTER = 5;
/** Events of one write. */
const BATCH = 64;
const END_OF_EVENT = Buffer.from('\n\n');

const HEADERS = {
  'Content-Type': EVENT_STREAM,
  // nginx would keep events back until its buffer is full.
  'X-Accel-Buffering': 'no',
  ...COMMON_HEADERS,
};

export class EventStreams {
  readonly #max: number;
  readonly #heartbeatMs: number;
  readonly #streams = new Set<EventStream>();
  #heartbeat: NodeJS.Timeout | undefined;
  #closed = false;

  constructor({ max = MAX_STREAMS, heartbeatMs = HEARTBEAT_MS }: EventStreamsOptions = {}) {
    this.#max = max;
    this.#heartbeatMs = heartbeatMs;
  }

  /** Streams that are open. */
  get size(): number {
    return this.#streams.size;
  }

  /** Replies with a stream that lasts until the client goes, the ring ends, or {@link close}. Throws as {@link requireRoom}. */
  open(exchange: Exchange, { ring, lastEventId, types }: StreamRequest): OpenStream {
    this.requireRoom();
    const { ctx } = exchange;
    const { req, res } = ctx;
    // Its close has been told already, and would never end the stream.
    if (isGone(req.socket)) throw new ClientGone('The client was gone before its stream began');
    ctx.respond = false;
    // A stream has no other end than that of its connection: a client that resets it is no fault.
    ctx.onerror = () => undefined;
    const { queryId } = exchange;
    res.writeHead(200, queryId === undefined ? HEADERS : { ...HEADERS, 'X-Query-Id': queryId });
    const stream = new EventStream(ring, res, ring.position(lastEventId), types);
    this.#streams.add(stream);
    const end = () => this.#end(stream);
    // A pipelined reply has no socket yet, and never hears that it closed.
    res.once('close', end);
    req.socket.once('close', end);
    res.on('drain', () => stream.drained());
    this.#heartbeat ??= setInterval(() => this.#beat(), this.#heartbeatMs);
    stream.begin(lastEventId === undefined);
    return stream;
  }

  /** Throws `OVERLOADED` or `SHUTTING_DOWN` where another stream may not be opened. */
  requireRoom(): void {
    if (this.#closed) throw shuttingDown();
    if (this.#streams.size < this.#max) return;
    throw new Failure(
      'OVERLOADED',
      `${this.#max} streams of events are open, the most there may be; try again.`,
      { retryAfter: RETRY_AFTER },
    );
  }

  /** Ends all streams at once, and takes no more of them. */
  close(): void {
    this.#closed = true;
    this.disconnect();
  }

  /** Ends all streams at once; their clients come back, and are asked for their keys again. */
  disconnect(): void {
    for (const stream of this.#streams) {
      this.#end(stream);
      stream.end();
    }
  }

  #beat(): void {
    for (const stream of this.#streams) stream.beat();
  }

  #end(stream: EventStream): void {
    this.#streams.delete(stream);
    stream.unsubscribe();
    if (this.#streams.size > 0) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
  }
}

class EventStream implements OpenStream {
  readonly #ring: EventRing;
  /** Hears of no more events. */
  readonly unsubscribe: () => void;
  readonly #response: ServerResponse;
  readonly #socket: Socket;
  readonly #types: ReadonlySet<string> | undefined;
  readonly #gap: Position['gap'];
  /** The number of the last event it has read. */
  #after: number;
  /** Its client has not taken what was written. */
  #blocked = false;
  #scheduled = false;
  /** Its end is on the way, and nothing may come between. */
  #ending = false;
  /** What is to come after the ring's events. */
  #finale: { readonly type: string; readonly json: readonly Uint8Array[] } | undefined;

  constructor(
    ring: EventRing,
    response: ServerResponse,
    { after, gap }: Position,
    types: ReadonlySet<string> | undefined,
  ) {
    this.#ring = ring;
    this.#response = response;
    this.#socket = response.req.socket;
    this.#types = types;
    this.#after = after;
    this.#gap = gap;
    this.unsubscribe = ring.subscribe(() => this.#wake());
  }

  begin(isNew: boolean): void {
    this.#write(`retry: ${RETRY_MS}\n\n`);
    if (this.#gap !== undefined) this.#writeOwn('gap', { lost: this.#gap.lost ?? null });
    // So that it has an id to come back with, even if nothing happens before its connection breaks.
    else if (isNew) this.#writeOwn('hello', {});
    this.pump();
  }

  /** Sends what there is, as far as the client takes it. */
  pump(): void {
    if (this.#ending || this.#response.writableEnded) return;
    for (;;) {
      const events = this.#ring.read(this.#after, BATCH);
      if (events === undefined) {
        this.#socket.destroy();
        return;
      }
      const last = events.at(-1);
      if (this.#blocked) return;
      if (last === undefined) {
        this.#endIfOver();
        return;
      }
      this.#after = last.number;
      const wanted = events.filter(({ type }) => this.#types?.has(type) ?? true);
      const text = wanted
        .map(({ number, type, json }) => block(this.#ring.idOf(number), type, json))
        .join('');
      if (text !== '') this.#write(text);
    }
  }

  finish(type: string, json: readonly Uint8Array[]): void {
    this.#finale = { type, json };
    this.pump();
  }

  drained(): void {
    this.#blocked = false;
    this.pump();
  }

  /** The id alone is no event; it saves a client of rare events from coming back with one that is too old. */
  beat(): void {
    if (!this.#blocked && !this.#ending) this.#write(`: heartbeat\nid: ${this.#ring.idOf(this.#after)}\n\n`);
  }

  /** A client that does not take even the end is not waited for. */
  end(): void {
    const { socket } = this.#response;
    this.#response.end();
    setImmediate(() => {
      if (socket !== null && socket.writableLength > 0) socket.destroy();
    });
  }

  /** Not now: whoever tells of a crash has to see to the crash first. */
  #wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.pump();
    });
  }

  #endIfOver(): void {
    if (this.#finale !== undefined) {
      const { type, json } = this.#finale;
      const head = Buffer.from(`id: ${this.#ring.idOf(this.#after)}\nevent: ${type}\ndata: `);
      this.#ending = true;
      // Ended when the last byte is with the system: node takes an ended reply for an idle connection (query-reply.ts).
      void writeAll(this.#response, this.#socket, [head, ...json, END_OF_EVENT]);
    } else if (this.#ring.ended) {
      this.#ending = true;
      this.#response.end();
    }
  }

  #writeOwn(type: 'gap' | 'hello', members: Readonly<Record<string, unknown>>): void {
    const json = JSON.stringify({ type, at: this.#ring.now(), ...members });
    this.#write(block(this.#ring.idOf(this.#after), type, json));
  }

  #write(text: string): void {
    if (!this.#response.write(text)) this.#blocked = true;
  }
}

function block(id: string, type: string, json: string): string {
  return `id: ${id}\nevent: ${type}\ndata: ${json}\n\n`;
}
