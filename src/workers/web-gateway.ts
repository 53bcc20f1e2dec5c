/**
 * The way from DuckDB to the web servers of `http` sources: an HTTP proxy (RFC 9110, 3.7) of the worker's own, on a port of
 * loopback that only it has the passwords for.
 *
 * DuckDB's client follows every redirect, with the extra headers of a source to whatever host, and with its token to any path of the
 * same one, and no setting stops it (measured with DuckDB 1.5.5). Each source has a password here that lets through what is below its
 * URL. Over TLS no more can be seen than where a tunnel leads, so there a source is held to its own host.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { plainPathProblem } from './duckdb/remote-paths.ts';

export interface GatewayPass {
  /** `http://127.0.0.1:port`. */
  readonly proxy: string;
  readonly user: string;
  readonly password: string;
}

const USER = 'duckcoop';
/** Passes, the latest ones: with sources that requests bring along there is no end of URLs. A statement has no more than a few. */
const KEPT = 1_000;
/** Not for whom the request is for. */
const HOP_HEADERS = ['proxy-authorization', 'proxy-connection', 'connection', 'keep-alive'];

export class WebGateway {
  readonly #server: Server;
  /** URLs by password. */
  readonly #passes = new Map<string, string>();
  #listening: Promise<number> | undefined;
  /** The last thing that went wrong, by URL: DuckDB's client is told no more than a status. */
  readonly #failures = new Map<string, string>();

  constructor() {
    this.#server = createServer((incoming, response) => this.#forward(incoming, response));
    this.#server.on('connect', (incoming: IncomingMessage, socket: Socket) => this.#tunnel(incoming, socket));
    // It is there for the worker, and keeps nobody alive.
    this.#server.unref();
  }

  /** A pass for what is below the URL, which ends with a `/`; the same for the same. */
  async passFor(url: string): Promise<GatewayPass> {
    const port = await this.#listen();
    const known = [...this.#passes].find(([, other]) => other === url);
    const password = known?.[0] ?? randomBytes(16).toString('hex');
    this.#passes.delete(password);
    this.#passes.set(password, url);
    this.#failures.delete(url);
    const [oldest] = this.#passes;
    if (this.#passes.size > KEPT && oldest !== undefined) {
      this.#passes.delete(oldest[0]);
      this.#failures.delete(oldest[1]);
    }
    return { proxy: `http://127.0.0.1:${port}`, user: USER, password };
  }

  /** What went wrong last on the way to the source, in words of ours; undefined where nothing did. */
  failureOf(url: string): string | undefined {
    return this.#failures.get(url);
  }

  #listen(): Promise<number> {
    this.#listening ??= new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', () => resolve((this.#server.address() as AddressInfo).port));
    });
    return this.#listening;
  }

  #prefixOf({ headers }: IncomingMessage): string | undefined {
    const given = /^Basic (\S+)$/.exec(headers['proxy-authorization'] ?? '')?.[1];
    const [user, password] = Buffer.from(given ?? '', 'base64')
      .toString()
      .split(':');
    return user === USER ? this.#passes.get(password ?? '') : undefined;
  }

  #forward(incoming: IncomingMessage, response: ServerResponse): void {
    const prefix = this.#prefixOf(incoming);
    const target = incoming.url ?? '';
    if (prefix === undefined || !isBelow(target, prefix)) {
      if (prefix !== undefined) this.#failures.set(prefix, ASTRAY);
      response.writeHead(403, 'Not below the source').end();
      return;
    }
    const url = new URL(target);
    const outgoing = request(
      {
        host: hostOf(url),
        port: url.port || 80,
        method: incoming.method,
        path: target.slice(url.origin.length),
      },
      (answer) => {
        const status = answer.statusCode ?? 502;
        if (status >= 400) this.#failures.set(prefix, `its server answered with (HTTP ${status})`);
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
        answer.on('error', () => response.destroy());
      },
    );
    for (const [name, value] of Object.entries(incoming.headers))
      if (value !== undefined && !HOP_HEADERS.includes(name)) outgoing.setHeader(name, value);
    outgoing.on('error', ({ code }: NodeJS.ErrnoException) => {
      this.#failures.set(prefix, unreached(code));
      if (response.headersSent) response.destroy();
      else response.writeHead(502, 'Cannot connect').end();
    });
    response.on('close', () => outgoing.destroy());
    incoming.pipe(outgoing);
  }

  #tunnel(incoming: IncomingMessage, client: Socket): void {
    client.on('error', () => client.destroy());
    const prefix = this.#prefixOf(incoming);
    const url = prefix === undefined ? undefined : new URL(prefix);
    const port = url?.port || '443';
    if (url?.protocol !== 'https:' || incoming.url?.toLowerCase() !== `${url.hostname}:${port}`) {
      if (prefix !== undefined) this.#failures.set(prefix, ASTRAY);
      client.end('HTTP/1.1 403 Not below the source\r\n\r\n');
      return;
    }
    const server = connect({ host: hostOf(url), port: Number(port) }, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      server.pipe(client);
      client.pipe(server);
    });
    server.on('error', ({ code }: NodeJS.ErrnoException) => {
      if (prefix !== undefined) this.#failures.set(prefix, unreached(code));
      client.end('HTTP/1.1 502 Cannot connect\r\n\r\n');
    });
    client.on('close', () => server.destroy());
    server.on('close', () => client.destroy());
  }
}

const ASTRAY = 'its server redirects to what is not below the source';

function unreached(code: string | undefined): string {
  return `its server cannot be reached (${code ?? 'it broke off'})`;
}

/** Of the worker: it listens once a web server is a source of some statement. */
export const webGateway = new WebGateway();

/** Of a redirect as well: it may have parameters, of which the server that sent it knows. */
function isBelow(target: string, prefix: string): boolean {
  if (!prefix.startsWith('http:') || !target.startsWith(prefix)) return false;
  const [path = ''] = target.slice(prefix.length).split('?');
  return plainPathProblem(path, { decoded: true }) === undefined;
}

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}
