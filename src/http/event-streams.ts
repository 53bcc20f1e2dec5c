/**
 * Streams of operator events to clients (server-sent events; WHATWG HTML, section 9.2).
 *
 * A stream is a place in the event log and nothing else: it reads on as fast as its client does. What is kept for a client is
 * what its socket holds, so a slow one costs no memory; when it falls behind the log's oldest event it is disconnected,
 * comes back with `Last-Event-ID`, and is told how much it has missed.
 */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Failure, shuttingDown } from '../failures.ts';
import type { EventLog, Position } from '../telemetry/event-log.ts';
import { EVENT_STREAM } from './accept.ts';
import { COMMON_HEADERS, type Exchange, isGone } from './exchange.ts';
import { ClientGone } from './request-body.ts';

export interface EventStreamsOptions {
  readonly log: EventLog;
  /** Streams that may be open at the same time. */
  readonly max?: number;
  /** Milliseconds from one sign of life to the next, for proxies that end silent connections. */
  readonly heartbeatMs?: number;
}

export interface StreamRequest {
  /** The last event that the client has seen; undefined for one that is new. */
  readonly lastEventId: string | undefined;
  /** Which events it wants; undefined for all. */
  readonly types: ReadonlySet<string> | undefined;
}

const MAX_STREAMS = 100;
const HEARTBEAT_MS = 15_000;
/** Milliseconds after which a client that was disconnected shall come back. */
const RETRY_MS = 2_000;
/** Seconds after which a client that was refused may try again. */
const RETRY_AFTER = 5;
/** Events of one write. */
const BATCH = 64;

const HEADERS = {
  'Content-Type': EVENT_STREAM,
  // nginx would keep events back until its buffer is full.
  'X-Accel-Buffering': 'no',
  ...COMMON_HEADERS,
};

export class EventStreams {
  readonly #log: EventLog;
  readonly #max: number;
  readonly #heartbeatMs: number;
  readonly #streams = new Set<EventStream>();
  #heartbeat: NodeJS.Timeout | undefined;
  #unsubscribe: (() => void) | undefined;
  #scheduled = false;
  #closed = false;

  constructor({ log, max = MAX_STREAMS, heartbeatMs = HEARTBEAT_MS }: EventStreamsOptions) {
    this.#log = log;
    this.#max = max;
    this.#heartbeatMs = heartbeatMs;
  }

  /** Streams that are open. */
  get size(): number {
    return this.#streams.size;
  }

  /** Replies with a stream that lasts until the client goes or {@link close}. Throws `OVERLOADED`, `SHUTTING_DOWN`. */
  open(exchange: Exchange, { lastEventId, types }: StreamRequest): void {
    if (this.#closed) throw shuttingDown();
    if (this.#streams.size >= this.#max) {
      throw new Failure(
        'OVERLOADED',
        `${this.#max} streams of events are open, the most there may be; try again.`,
        {
          retryAfter: RETRY_AFTER,
        },
      );
    }
    const { ctx } = exchange;
    const { req, res } = ctx;
    // Its close has been told already, and would never end the stream.
    if (isGone(req.socket)) throw new ClientGone('The client was gone before its stream began');
    ctx.respond = false;
    // A stream has no other end than that of its connection: a client that resets it is no fault.
    ctx.onerror = () => undefined;
    res.writeHead(200, HEADERS);
    const stream = new EventStream(this.#log, res, this.#log.position(lastEventId), types);
    this.#streams.add(stream);
    const end = () => this.#end(stream);
    // A pipelined reply has no socket yet, and never hears that it closed.
    res.once('close', end);
    req.socket.once('close', end);
    res.on('drain', () => stream.drained());
    this.#unsubscribe ??= this.#log.subscribe(() => this.#wake());
    this.#heartbeat ??= setInterval(() => this.#beat(), this.#heartbeatMs);
    stream.begin(lastEventId === undefined);
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

  /** Not now: whoever tells of a crash has to see to the crash first. */
  #wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      for (const stream of this.#streams) stream.pump();
    });
  }

  #beat(): void {
    for (const stream of this.#streams) stream.beat();
  }

  #end(stream: EventStream): void {
    this.#streams.delete(stream);
    if (this.#streams.size > 0) return;
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
  }
}

class EventStream {
  readonly #log: EventLog;
  readonly #response: ServerResponse;
  readonly #socket: Socket;
  readonly #types: ReadonlySet<string> | undefined;
  readonly #gap: Position['gap'];
  /** The number of the last event it has read. */
  #after: number;
  /** Its client has not taken what was written. */
  #blocked = false;

  constructor(
    log: EventLog,
    response: ServerResponse,
    { after, gap }: Position,
    types: ReadonlySet<string> | undefined,
  ) {
    this.#log = log;
    this.#response = response;
    this.#socket = response.req.socket;
    this.#types = types;
    this.#after = after;
    this.#gap = gap;
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
    if (this.#response.writableEnded) return;
    for (;;) {
      const events = this.#log.read(this.#after, BATCH);
      if (events === undefined) {
        this.#socket.destroy();
        return;
      }
      const last = events.at(-1);
      if (last === undefined || this.#blocked) return;
      this.#after = last.number;
      const wanted = events.filter(({ type }) => this.#types?.has(type) ?? true);
      const text = wanted.map(({ number, type, json }) => block(this.#log.idOf(number), type, json)).join('');
      if (text !== '') this.#write(text);
    }
  }

  drained(): void {
    this.#blocked = false;
    this.pump();
  }

  /** The id alone is no event; it saves a client of rare events from coming back with one that is too old. */
  beat(): void {
    if (!this.#blocked) this.#write(`: heartbeat\nid: ${this.#log.idOf(this.#after)}\n\n`);
  }

  /** A client that does not take even the end is not waited for. */
  end(): void {
    const { socket } = this.#response;
    this.#response.end();
    setImmediate(() => {
      if (socket !== null && socket.writableLength > 0) socket.destroy();
    });
  }

  #writeOwn(type: 'gap' | 'hello', members: Readonly<Record<string, unknown>>): void {
    const json = JSON.stringify({ type, at: this.#log.now(), ...members });
    this.#write(block(this.#log.idOf(this.#after), type, json));
  }

  #write(text: string): void {
    if (!this.#response.write(text)) this.#blocked = true;
  }
}

function block(id: string, type: string, json: string): string {
  return `id: ${id}\nevent: ${type}\ndata: ${json}\n\n`;
}
