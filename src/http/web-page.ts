/**
 * Whether a request is the doing of a web page that is not this server's: a browser sends it with the rights of the machine
 * it runs on, and so past a listener that only loopback reaches.
 *
 * - A page elsewhere says so itself, or its browser does for it: `Sec-Fetch-Site` (Fetch Metadata, section 2.3), and where
 *   there is none, `Origin` (RFC 6454, section 7). No page can change either.
 * - A page whose own name was made to point here (DNS rebinding) is of the same origin to its browser, and is told by the
 *   name: `Host` is none that this server is known by.
 */
import type { IncomingMessage } from 'node:http';
import { isLoopback } from '../config/loopback.ts';
import { forbidden } from '../failures.ts';

/** `allowedHosts`: names, without a port, that the server is reached by beside those of loopback; undefined for any. */
export function refuseForeignPage(
  { headers }: Pick<IncomingMessage, 'headers'>,
  allowedHosts: readonly string[] | undefined,
): void {
  const { host, origin, 'sec-fetch-site': site } = headers;
  // Without one (HTTP/1.0) it is no browser's.
  if (allowedHosts !== undefined && host !== undefined && !isKnown(host, allowedHosts)) {
    throw forbidden(
      'host',
      host,
      `This server is not known as ${JSON.stringify(host)}. If it is to be, name that in server.allowed_hosts.`,
    );
  }
  if (site === undefined ? origin === undefined || isOwn(origin, host ?? '') : OWN_SITES.has(site)) return;
  throw forbidden(
    'origin',
    origin ?? 'unknown',
    'A web page of another origin may not send requests to this server.',
  );
}

/** Of a page of ours, and of what the user does without any page (an address typed in, a bookmark). */
const OWN_SITES: ReadonlySet<unknown> = new Set(['same-origin', 'none']);

/** Nearly every request has the same one, and to take it apart anew each time shows in the throughput of point queries. */
let latest:
  | { readonly host: string; readonly name: string | undefined; readonly isLoopback: boolean }
  | undefined;

function isKnown(host: string, allowedHosts: readonly string[]): boolean {
  if (latest?.host !== host) {
    const name = hostname(host);
    latest = { host, name, isLoopback: name !== undefined && isLoopback(name) };
  }
  const { name } = latest;
  return latest.isLoopback || allowedHosts.some((other) => other.toLowerCase() === name);
}

/** The scheme may be another one: behind a proxy the page came by TLS. */
function isOwn(origin: string, host: string): boolean {
  return URL.canParse(origin) && new URL(origin).host === host.toLowerCase();
}

/** Without the port, in lower case, and an IPv6 address without its brackets. */
function hostname(host: string): string | undefined {
  const url = `http://${host}`;
  return URL.canParse(url) ? new URL(url).hostname.replace(/^\[(.*)\]$/, '$1') : undefined;
}
