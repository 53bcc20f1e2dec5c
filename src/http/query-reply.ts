/**
 * The reply to a query, composed around the worker's bytes: they are never parsed, decoded or held in a string.
 */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { QueryResult, QueryStats } from '../actors/query.ts';
import { Failure } from '../failures.ts';
import { chooseEncoding, compress, headersOf, WORTH_BYTES } from './compression.ts';
import { COMMON_HEADERS, type Exchange } from './exchange.ts';

/** Up to this many bytes, one copy and one write are cheaper than several writes. */
const SMALL_BYTES = 64 * 1024;

/**
 * Bytes of one write. A client that takes none of them for the listener's `clientWriteTimeoutMs` is disconnected,
 * so a slice has to be small enough for a slow but honest client.
 */
const SLICE_BYTES = 64 * 1024;

/**
 * Resolves once the last byte is handed to the system, or the client has gone. Throws `RESULT_TOO_LARGE`, before
 * anything is sent.
 */
export async function replyResult(
  exchange: Exchange,
  queryId: string,
  result: QueryResult,
  maxResultBytes: number,
): Promise<void> {
  const { body } = result;
  const bodyBytes = byteLength(body);
  if (bodyBytes > maxResultBytes) throw tooLarge(maxResultBytes, bodyBytes);
  const { head, tail } = around(queryId, result);
  const length = Buffer.byteLength(head) + bodyBytes + Buffer.byteLength(tail);
  const { req, res } = exchange.ctx;
  exchange.ctx.respond = false;
  const encoding = length < WORTH_BYTES ? undefined : chooseEncoding(exchange.ctx, 'json');
  if (encoding !== undefined) {
    const whole = await compress(encoding, Buffer.concat([Buffer.from(head), ...body, Buffer.from(tail)]));
    const headers = { ...headersOf(encoding), 'Content-Type': 'application/json', 'X-Query-Id': queryId };
    res.writeHead(200, { ...headers, 'Content-Length': whole.length, ...COMMON_HEADERS });
    await writeAll(res, req.socket, [whole]);
    return;
  }
  // Not a spread: V8 takes microseconds for one that is followed by further members.
  const headers = { 'Content-Type': 'application/json', 'Content-Length': length, 'X-Query-Id': queryId };
  res.writeHead(200, Object.assign(headers, COMMON_HEADERS));
  if (length > SMALL_BYTES) {
    await writeAll(res, req.socket, [Buffer.from(head), ...body, Buffer.from(tail)]);
    return;
  }
  const whole = Buffer.allocUnsafe(length);
  let offset = whole.write(head);
  for (const piece of body) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  whole.write(tail, offset);
  res.end(whole);
}

/** The document of {@link replyResult} in pieces, none of which has a line end in it. Throws `RESULT_TOO_LARGE`. */
export function resultDocument(queryId: string, result: QueryResult, maxResultBytes: number): Uint8Array[] {
  const bytes = byteLength(result.body);
  if (bytes > maxResultBytes) throw tooLarge(maxResultBytes, bytes);
  const { head, tail } = around(queryId, result);
  return [Buffer.from(head), ...result.body, Buffer.from(tail)];
}

function around(queryId: string, { rowCount, truncated, stats }: QueryResult) {
  return {
    head: `{"query_id":${JSON.stringify(queryId)},`,
    tail: `,"row_count":${rowCount},"truncated":${truncated},"stats":${statsJson(stats)}}`,
  };
}

/**
 * One slice at a time, so that no more than one waits in this process's memory beside the result itself. The reply
 * is ended after its last slice is gone: node counts a connection whose reply is ended as idle, and an idle
 * connection is cut when the server closes, bytes unsent or not.
 */
export async function writeAll(
  res: ServerResponse,
  socket: Socket,
  pieces: readonly Uint8Array[],
): Promise<void> {
  for (const piece of pieces) {
    for (let offset = 0; offset < piece.length; offset += SLICE_BYTES) {
      if (socket.destroyed) return;
      await write(res, socket, piece.subarray(offset, offset + SLICE_BYTES));
    }
  }
  res.end();
}

/** A pipelined reply waits for its turn without a socket, and never hears that the socket closed: hence both events. */
function write(res: ServerResponse, socket: Socket, slice: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('close', done);
      resolve();
    };
    socket.once('close', done);
    res.write(slice, done);
  });
}

function statsJson(stats: QueryStats): string {
  return (
    `{"queue_ms":${Math.round(stats.queueMs)},"run_ms":${Math.round(stats.runMs)},"total_ms":${Math.round(stats.totalMs)},` +
    `"rows":${stats.rows},"bytes":${stats.bytes},"peak_memory_bytes":${stats.peakMemoryBytes},` +
    `"worker":${JSON.stringify(stats.worker)},"attempts":${stats.attempts}}`
  );
}

function byteLength(pieces: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const piece of pieces) bytes += piece.length;
  return bytes;
}

function tooLarge(limit: number, used: number): Failure {
  return new Failure(
    'RESULT_TOO_LARGE',
    `The result has ${used} bytes; one reply may have ${limit}. Ask for less, or set row_limit or byte_limit.`,
    { members: { limit, used } },
  );
}
