/**
 * Reads a request body that may not pass a number of bytes.
 */
import type { IncomingMessage } from 'node:http';
import { Failure } from '../failures.ts';
import type { Exchange } from './exchange.ts';
import { invalidRequest } from './invalid-request.ts';
import { parseJson } from './json.ts';

/** Bytes of a body where none is needed. */
const MAX_NEEDLESS_BODY = 10_000;

/** The client went away before its request was whole. There is nobody to tell. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

/**
 * The bytes of the body. Rejects with `PAYLOAD_TOO_LARGE` as soon as `maxBytes` are passed or announced, the rest
 * left unread, with {@link ClientGone}, and with what admission says where the sender's key was revoked while it sent.
 */
export async function readBody(
  { ctx, requireStillAdmitted }: Pick<Exchange, 'ctx' | 'requireStillAdmitted'>,
  maxBytes: number,
): Promise<Buffer> {
  const body = await read(ctx.req, maxBytes);
  requireStillAdmitted();
  return body;
}

function read(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const announced = request.headers['content-length'];
  if (announced !== undefined && Number(announced) > maxBytes) return Promise.reject(tooLarge(maxBytes));
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    const onData = (piece: Buffer): void => {
      bytes += piece.length;
      if (bytes <= maxBytes) {
        pieces.push(piece);
        return;
      }
      request.off('data', onData);
      request.pause();
      reject(tooLarge(maxBytes));
    };
    const onEnd = (): void => {
      const [first] = pieces;
      resolve(first !== undefined && pieces.length === 1 ? first : Buffer.concat(pieces, bytes));
    };
    // An abort is no 'error' event where nobody listens for one; 'close' comes in any case, after 'end' too.
    const onClose = (): void => {
      if (!request.readableEnded)
        reject(new ClientGone('The client closed the connection before the request was whole'));
    };
    if (request.destroyed) onClose();
    else request.on('data', onData).on('end', onEnd).on('close', onClose);
  });
}

/** For routes that take no fields: `{}` is as good as nothing, and what says more would be ignored, which a typo never is. */
export async function refuseBody(exchange: Exchange): Promise<void> {
  const text = (await readBody(exchange, MAX_NEEDLESS_BODY)).toString();
  if (text.trim() === '') return;
  const value = parseJson(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidRequest([{ path: '', message: 'expected no body, or {}' }]);
  }
  const errors = Object.keys(value).map((path) => ({ path, message: 'unknown field; this takes none' }));
  if (errors.length > 0) throw invalidRequest(errors);
}

function tooLarge(maxBytes: number): Failure {
  return new Failure('PAYLOAD_TOO_LARGE', `The request body is larger than ${maxBytes} bytes.`, {
    members: { limit: maxBytes },
    headers: { Connection: 'close' },
  });
}
