/**
 * Bytes that are no HTTP, headers without end, requests that never arrive: node's parser reports these before any
 * handler runs, so they are answered on the bare socket.
 */
import { type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';

interface ClientError {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
}

/** Milliseconds for a client to take its last reply and close. */
const LINGER_MS = 1_000;

/**
 * Answers each broken request with one problem document and closes. `whenAnswered` calls back once no earlier
 * request of that connection waits for its reply, so that this one is not mistaken for it; it says false where a
 * reply has been begun that can never be finished.
 */
export function handleClientErrors(
  server: Server,
  whenAnswered: (socket: Socket, callback: (free: boolean) => void) => void,
): void {
  const broken = new WeakSet<Socket>();
  server.on('clientError', (error: NodeJS.ErrnoException, duplex) => {
    const socket = duplex as Socket;
    // What follows broken bytes is broken too.
    if (broken.has(socket)) return;
    broken.add(socket);
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    whenAnswered(socket, (free) => {
      if (free && socket.writable) replyAndClose(socket, describe(error.code));
      else socket.destroy();
    });
  });
}

function describe(code: string | undefined): ClientError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return { status: 431, code: 'INVALID_REQUEST', detail: 'The request line and headers are too long.' };
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return { status: 413, code: 'PAYLOAD_TOO_LARGE', detail: 'The chunk extensions are too long.' };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { status: 408, code: 'INVALID_REQUEST', detail: 'The request did not arrive in time.' };
    default:
      return { status: 400, code: 'INVALID_REQUEST', detail: `This is not HTTP/1.1 (${code ?? 'unknown'}).` };
  }
}

function replyAndClose(socket: Socket, { status, code, detail }: ClientError): void {
  const title = STATUS_CODES[status] ?? '';
  const body = JSON.stringify({
    type: `urn:duckcoop:problem:${code.toLowerCase().replaceAll('_', '-')}`,
    title,
    status,
    code,
    detail,
    retryable: false,
    errors: [{ path: '', message: detail }],
  });
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${body}`,
  );
  // To destroy it now would reset the connection, and the reply with it, if the client is still sending.
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('end', () => socket.destroy());
  socket.once('close', () => clearTimeout(timer));
}
