/** A real egress process over a folder of exports of the test's own, and what a client says to it. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readlinkSync, realpathSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { dirname, join } from 'node:path';
import { type EgressExit, EgressProcess } from '../../src/egress/egress-process.ts';
import { EGRESS_MAIN } from '../../src/egress/launch.ts';
import { KEY_BYTES, signLink } from '../../src/egress/links.ts';
import { makeFolder } from '../support/temp.ts';

export const ID = 'x-01234567-89ab-cdef-0123-456789abcdef';
/** Milliseconds. */
export const CLIENT_WRITE_TIMEOUT = 400;

export interface Download {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface RunningEgress {
  readonly folder: string;
  readonly url: string;
  readonly process: EgressProcess;
  readonly exit: Promise<EgressExit>;
  /** Writes a file of an export, and returns its path on disk. */
  write(path: string, content: string | Buffer, exportId?: string): string;
  /** Makes a link that holds for a minute, or as long as it is told. */
  link(path: string, options?: { readonly exportId?: string; readonly forMs?: number }): string;
  /** Paths of the files that it has open. */
  openFiles(): string[];
  close(): Promise<void>;
}

export async function startEgress(options: { readonly port?: number } = {}): Promise<RunningEgress> {
  const temporary = await makeFolder();
  const folder = realpathSync(temporary.path);
  const key = randomBytes(KEY_BYTES);
  let onExit: (exit: EgressExit) => void = () => undefined;
  const exit = new Promise<EgressExit>((resolve) => {
    onExit = resolve;
  });
  let process: EgressProcess | undefined;
  const url = await new Promise<string>((resolve, reject) => {
    process = new EgressProcess({
      main: EGRESS_MAIN,
      folder,
      key,
      host: '127.0.0.1',
      port: options.port ?? 0,
      clientWriteTimeoutMs: CLIENT_WRITE_TIMEOUT,
      silenceMs: 20_000,
      onListening: ({ url }) => resolve(url),
      onExit: (exit) => {
        onExit(exit);
        reject(new Error(exit.detail));
      },
    });
  }).catch(async (error: unknown) => {
    await temporary.remove();
    throw error;
  });
  const started = process as unknown as EgressProcess;
  return {
    folder,
    url,
    process: started,
    exit,
    write: (path, content, exportId = ID) => {
      const file = join(folder, exportId, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
      return file;
    },
    link: (path, { exportId = ID, forMs = 60_000 } = {}) =>
      signLink(key, url, { exportId, path, expiresAt: Date.now() + forMs }),
    openFiles: () => openFilesOf(started.pid as number, folder),
    close: async () => {
      started.stop(0);
      await exit;
      await temporary.remove();
    },
  };
}

export function openFilesOf(pid: number, folder: string): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/${pid}/fd/${fd}`);
      return target.startsWith(folder) ? [target] : [];
    } catch {
      return [];
    }
  });
}

/** One request on a connection of its own; the target is sent as it is. Rejects where the reply was cut. */
export function download(
  link: string,
  options: { readonly method?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<Download> {
  const { hostname, port } = new URL(link);
  const path = link.slice(link.indexOf('/', 'http://'.length));
  const { method = 'GET', headers = {} } = options;
  return new Promise((resolve, reject) => {
    const asked = request({ hostname, port, path, method, headers, agent: false });
    asked.on('error', reject);
    asked.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode as number,
          headers: response.headers,
          body: Buffer.concat(chunks),
        }),
      );
    });
    asked.end();
  });
}
