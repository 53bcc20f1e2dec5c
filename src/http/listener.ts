/**
 * The listening socket, and every connection it accepted: their time limits, and their orderly end.
 *
 * ```
 *             listen               drain             no socket is left
 *   created ---------> listening ---------> draining -----------------> closed
 *                                   |  the timeout: what is left is destroyed  ^
 *                                   '------------------------------------------'
 * ```
 * While it drains, nothing new is accepted, idle connections are closed, and replies carry `Connection: close`.
 */
import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { handleClientErrors } from './client-errors.ts';

export interface ListenerOptions {
  /** Milliseconds after which a client that takes none of its reply is disconnected. */
  readonly clientWriteTimeoutMs: number;
  /** Milliseconds for the request line and headers. */
  readonly headersTimeoutMs?: number;
  /** Milliseconds for the whole request, body included. */
  readonly requestTimeoutMs?: number;
  /** Milliseconds that an idle connection is kept. */
  readonly keepAliveTimeoutMs?: number;
}

export interface ListeningAddress {
  readonly url: string;
  readonly port: number;
}

/** Bytes of the request line and headers together; `GET /v1/query?sql=` has its SQL there. */
const MAX_HEADER_BYTES = 32 * 1024;

/** A connection: the requests on it that have no whole reply yet, and how far its bytes have got. */
interface Connection {
  readonly pending: Set<ServerResponse>;
  onAnswered: (() => void) | undefined;
  sent: number;
  stalledSince: number | undefined;
}

export class Listener {
  readonly #server: Server;
  readonly #options: ListenerOptions;
  readonly #connections = new Map<Socket, Connection>();
  #draining = false;
  #stallCheck: NodeJS.Timeout | undefined;

  constructor(handler: RequestListener, options: ListenerOptions) {
    this.#options = options;
    const headersTimeout = options.headersTimeoutMs ?? 15_000;
    this.#server = createServer({
      headersTimeout,
      requestTimeout: options.requestTimeoutMs ?? 60_000,
      keepAliveTimeout: options.keepAliveTimeoutMs ?? 30_000,
      connectionsCheckingInterval: Math.min(5_000, Math.ceil(headersTimeout / 4)),
      maxHeaderSize: MAX_HEADER_BYTES,
      // The application says it with a problem document.
      requireHostHeader: false,
    });
    this.#server.on('connection', (socket) => this.#track(socket));
    const answer: RequestListener = (request, response) => {
      this.#begin(request, response);
      handler(request, response);
    };
    this.#server.on('request', answer);
    // An expectation that is not known is not met, and need not be refused (RFC 9110, section 10.1.1).
    this.#server.on('checkExpectation', answer);
    handleClientErrors(this.#server, (socket, callback) => this.#whenAnswered(socket, callback));
  }

  /** Sockets that are open. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Rejects with node's own error where the address cannot be had. Port 0 takes a free one. */
  async listen(host: string, port: number): Promise<ListeningAddress> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    // The timeout may be another one by the next check.
    const every = Math.min(1_000, Math.max(10, Math.floor(this.#options.clientWriteTimeoutMs / 4)));
    this.#stallCheck = setInterval(() => this.#destroyStalled(), every).unref();
    const address = this.#server.address() as AddressInfo;
    const name = address.family === 'IPv6' ? `[${address.address}]` : address.address;
    return { url: `http://${name}:${address.port}`, port: address.port };
  }

  /**
   * Stops accepting, waits `timeoutMs` for requests in flight, then destroys what is left. Resolves when no socket
   * is left; a second call only shortens the wait.
   */
  async drain(timeoutMs: number): Promise<void> {
    this.#draining = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const [socket, { pending }] of this.#connections) {
      // Node takes a connection that has sent nothing yet for a busy one.
      if (pending.size === 0 && socket.bytesRead === 0) socket.destroy();
      // Of pipelined replies only the last one may say it: those behind it would never be sent.
      const last = [...pending].at(-1);
      if (last && !last.headersSent) last.shouldKeepAlive = false;
    }
    const timer = setTimeout(() => {
      for (const socket of this.#connections.keys()) socket.destroy();
    }, timeoutMs);
    await closed;
    // The server closes as soon as its last socket is told to, which is a moment before that socket is gone.
    await Promise.all([...this.#connections.keys()].map((socket) => once(socket, 'close')));
    clearTimeout(timer);
    clearInterval(this.#stallCheck);
  }

  #track(socket: Socket): void {
    const connection: Connection = {
      pending: new Set(),
      onAnswered: undefined,
      sent: 0,
      stalledSince: undefined,
    };
    this.#connections.set(socket, connection);
    // Each pipelined request listens for the end of its connection.
    socket.setMaxListeners(0);
    socket.once('close', () => this.#connections.delete(socket));
  }

  #begin(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const connection = this.#connections.get(socket);
    if (!connection) return;
    connection.pending.add(response);
    if (this.#draining) response.shouldKeepAlive = false;
    response.on('close', () => {
      connection.pending.delete(response);
      if (connection.pending.size > 0) return;
      connection.onAnswered?.();
      // The header of this reply was sent before the drain began.
      if (this.#draining && !socket.destroyed) socket.destroySoon();
    });
  }

  /** Calls back with false where the only reply in flight has begun and its request can never be whole. */
  #whenAnswered(socket: Socket, callback: (free: boolean) => void): void {
    const connection = this.#connections.get(socket);
    const pending = [...(connection?.pending ?? [])];
    const last = pending.at(-1);
    if (!connection || last === undefined) callback(true);
    else if (last.req.complete) connection.onAnswered = () => callback(true);
    // The broken bytes are the body of a request: its handler waits for them, and this is its reply.
    else callback(pending.length === 1 && !last.headersSent);
  }

  /**
   * Looks at all connections a few times per timeout instead of arming a timer for each reply: the hot path pays
   * nothing, and pipelined replies and problem documents are covered as well.
   */
  #destroyStalled(): void {
    const now = performance.now();
    for (const [socket, connection] of this.#connections) {
      const sent = socket.bytesWritten - socket.writableLength;
      if (socket.writableLength === 0 || sent !== connection.sent) {
        connection.sent = sent;
        connection.stalledSince = undefined;
      } else if (connection.stalledSince === undefined) {
        connection.stalledSince = now;
      } else if (now - connection.stalledSince >= this.#options.clientWriteTimeoutMs) {
        socket.destroy();
      }
    }
  }
}
