/**
 * The links under which files of finished exports are downloaded: who holds one may download that one file, until it expires.
 *
 * `BASE/<export id>/<path of the file>?expires=<ms since the epoch>&signature=<base64url>`, where the signature is the
 * HMAC-SHA256 (RFC 2104) of `<export id>/<path>\n<expires>`: the path as it is on disk, and the expiry as it stands in the link.
 * Pure: key and time are arguments.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

/** A file of an export, and until when it may be had. */
export interface LinkedFile {
  readonly exportId: string;
  /** Below the export's folder, its parts parted by `/`. */
  readonly path: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/** `unknown`: no such file can be. `forged`: nobody here has signed it. `expired`: signed, and too old. */
export type Verdict =
  | { readonly ok: true; readonly exportId: string; readonly path: string }
  | { readonly ok: false; readonly why: 'unknown' | 'forged' | 'expired' };

/** Bytes of a key: as many as the hash gives (RFC 2104, section 3). */
export const KEY_BYTES = 32;

const EXPORT_ID = /^x-[0-9a-f-]{36}$/;
const EXPIRES = /^\d{1,16}$/;

/** The link below `base`, a URL without a slash at its end. Throws for what is no file of an export. */
export function signLink(key: Uint8Array, base: string, { exportId, path, expiresAt }: LinkedFile): string {
  const expires = String(expiresAt);
  if (!EXPORT_ID.test(exportId) || !isFilePath(path) || !EXPIRES.test(expires)) {
    throw new TypeError(`no link can be made to ${JSON.stringify({ exportId, path, expiresAt })}`);
  }
  const file = path.split('/').map(encodeURIComponent).join('/');
  return `${base}/${exportId}/${file}?expires=${expires}&signature=${signature(key, exportId, path, expires)}`;
}

/** What a request's target (RFC 9112, section 3.2.1) asks for, if whoever sent it has a link that holds `now`. */
export function verifyLink(key: Uint8Array, target: string, now: number): Verdict {
  const [encoded = '', query = ''] = cut(target, '?');
  const file = decodePath(encoded);
  if (file === undefined) return { ok: false, why: 'unknown' };
  const { exportId, path } = file;
  const parameters = new URLSearchParams(query);
  const expires = parameters.get('expires') ?? '';
  const given = Buffer.from(parameters.get('signature') ?? '');
  const wanted = Buffer.from(signature(key, exportId, path, expires));
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted) || !EXPIRES.test(expires)) {
    return { ok: false, why: 'forged' };
  }
  return Number(expires) > now ? { ok: true, exportId, path } : { ok: false, why: 'expired' };
}

function signature(key: Uint8Array, exportId: string, path: string, expires: string): string {
  return createHmac('sha256', key).update(`${exportId}/${path}\n${expires}`).digest('base64url');
}

/** Nothing in it leads out of its folder: no part is empty, `.` or `..`, and what a system call would end at is not in it. */
function isFilePath(path: string): boolean {
  return (
    !/\p{Surrogate}/u.test(path) &&
    !path.includes('\0') &&
    path.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
  );
}

function decodePath(encoded: string): { readonly exportId: string; readonly path: string } | undefined {
  const [empty, exportId, ...parts] = encoded.split('/');
  if (empty !== '' || exportId === undefined || !EXPORT_ID.test(exportId)) return undefined;
  const decoded = parts.map(decodePart);
  // A slash that was encoded would make two parts of one.
  if (decoded.some((part) => part === undefined || part.includes('/'))) return undefined;
  const path = decoded.join('/');
  return isFilePath(path) ? { exportId, path } : undefined;
}

function decodePart(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

function cut(text: string, at: string): [string, string] {
  const index = text.indexOf(at);
  return index === -1 ? [text, ''] : [text.slice(0, index), text.slice(index + at.length)];
}
