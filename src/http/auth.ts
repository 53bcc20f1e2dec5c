/**
 * `Authorization: Bearer KEY` (RFC 6750, section 2.1): whose key it is.
 *
 * A key is looked up by its SHA-256, which is compared with that of every principal, found or not: how long it takes
 * says nothing about the keys there are. What is wrong with a refused one is for the metrics alone.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { AuthConfig } from '../config/auth.ts';
import { Failure } from '../failures.ts';
import { ANONYMOUS, type Principal } from '../principal.ts';
import { isRepeated } from './repeated-header.ts';

/** `malformed` is a header that holds no key, or more than one header; `unknown` a key that is nobody's. */
export const AUTH_FAILURES = ['missing', 'malformed', 'unknown'] as const;
export type AuthFailure = (typeof AUTH_FAILURES)[number];

/** Who sends a request. Throws `UNAUTHENTICATED`. */
export type Authenticate = (request: IncomingMessage) => Principal;

/**
 * `auth` is asked at each request, so that a key that a reload has removed is worth nothing from then on. `onFailure`
 * is told of each request that is refused.
 */
export function authenticator(auth: () => AuthConfig, onFailure?: (why: AuthFailure) => void): Authenticate {
  let known = keyring(auth());
  return (request) => {
    const config = auth();
    if (config !== known.config) known = keyring(config);
    if (config.mode === 'none') return known.anonymous;
    const caller = whoSent(request, known);
    if (typeof caller !== 'string') return caller;
    onFailure?.(caller);
    throw unauthenticated(request);
  };
}

interface Keyring {
  readonly config: AuthConfig;
  /** Every caller, where nobody is asked for a key. */
  readonly anonymous: Principal;
  readonly keys: readonly { readonly sha256: Buffer; readonly principal: Principal }[];
}

function keyring(config: AuthConfig): Keyring {
  const keys = Object.entries(config.principals).map(
    ([name, { key_hash, role, sources, pools, inline_sources }]) => ({
      sha256: Buffer.from(key_hash.reveal().slice('sha256:'.length), 'hex'),
      principal: { name, role, sources: sources && new Set(sources), pools, inlineSources: inline_sources },
    }),
  );
  return { config, anonymous: { ...ANONYMOUS, inlineSources: config.inline_sources }, keys };
}

/** The scheme in any case (RFC 9110, section 11.1). Visible ASCII is more than the RFC's token: keys are the operator's to make. */
const BEARER = /^Bearer +([\x21-\x7e]+)$/i;

function whoSent(request: IncomingMessage, { keys }: Keyring): Principal | AuthFailure {
  const { authorization } = request.headers;
  if (authorization === undefined) return 'missing';
  const key = isRepeated(request, 'authorization') ? undefined : BEARER.exec(authorization)?.[1];
  if (key === undefined) return 'malformed';
  const sha256 = hash('sha256', key, 'buffer');
  let found: Principal | undefined;
  for (const candidate of keys) {
    if (timingSafeEqual(candidate.sha256, sha256)) found = candidate.principal;
  }
  return found ?? 'unknown';
}

/** The same for every reason, and with the one challenge there is (RFC 6750, section 3). */
function unauthenticated(request: IncomingMessage): Failure {
  return new Failure('UNAUTHENTICATED', 'Send "Authorization: Bearer KEY" with a key that is valid here.', {
    headers: {
      'WWW-Authenticate': 'Bearer realm="duckcoop"',
      // A stranger's body is not read, and so the connection is no good for another request.
      ...(hasBody(request) && { Connection: 'close' }),
    },
  });
}

/** RFC 9112, section 6. */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}
