/** A web server of a test's own, plain or over TLS, that notes what it is asked. */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';

const certificate = (name: string) => fileURLToPath(new URL(`tls/${name}`, import.meta.url));
/** Of `localhost` and 127.0.0.1, and its own authority. */
export const CERTIFICATE = certificate('localhost.pem');
export const CERTIFICATE_KEY = certificate('localhost-key.pem');

export interface WebServer {
  /** Without a `/` at its end. */
  readonly url: string;
  readonly asked: { readonly path: string; readonly headers: IncomingHttpHeaders }[];
  stop(): Promise<void>;
}

/** A body, a status, or where a redirect leads. */
export type Page = string | number | { readonly location: string };

export async function startWebServer(
  pages: (path: string) => Page,
  { tls = false }: { readonly tls?: boolean } = {},
): Promise<WebServer> {
  const asked: WebServer['asked'] = [];
  const answer: RequestListener = ({ url: path = '', headers, method }, response) => {
    asked.push({ path, headers });
    const page = pages(path);
    if (typeof page === 'number') response.writeHead(page).end();
    else if (typeof page !== 'string') response.writeHead(302, page).end();
    else {
      response.writeHead(200, { 'content-length': Buffer.byteLength(page), 'accept-ranges': 'bytes' });
      response.end(method === 'HEAD' ? undefined : page);
    }
  };
  const keys = () => ({ cert: readFileSync(CERTIFICATE), key: readFileSync(CERTIFICATE_KEY) });
  const server: Server = tls ? createTlsServer(keys(), answer) : createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${tls ? 'https' : 'http'}://localhost:${port}`,
    asked,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
