/** An S3 server of a test's own, in memory of this process and in a folder that goes with it. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { DuckDBInstance } from '@duckdb/node-api';
import { extensionFile } from '../../src/extensions/layout.ts';
import { EXTENSIONS } from '../workers/worker-harness.ts';
import { makeFolder } from './temp.ts';

/** The one pair that it takes. */
export const S3_KEYS = { key_id: 'S3RVER', secret: 'S3RVER' } as const;

export interface S3Server {
  /** `127.0.0.1:port`, or `localhost:port` over TLS. */
  readonly endpoint: string;
  /** Puts what a SELECT gives into an object, in the format that the name's ending tells. */
  put(url: string, select: string): Promise<void>;
  stop(): Promise<void>;
}

interface S3rver {
  run(): Promise<{ readonly port: number }>;
  close(): Promise<void>;
}

export interface S3ServerOptions {
  /** Paths of what it shows, and of who vouches for that. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly authority: string };
}

export async function startS3Server(
  buckets: readonly string[],
  { tls }: S3ServerOptions = {},
): Promise<S3Server> {
  const { path, remove } = await makeFolder();
  // It has no types, and is CommonJS.
  const Server = createRequire(import.meta.url)('s3rver') as new (options: object) => S3rver;
  const server = new Server({
    address: '127.0.0.1',
    port: 0,
    silent: true,
    directory: path,
    configureBuckets: buckets.map((name) => ({ name })),
    ...(tls === undefined ? {} : { cert: readFileSync(tls.cert), key: readFileSync(tls.key) }),
  });
  const { port } = await server.run();
  const endpoint = `${tls === undefined ? '127.0.0.1' : 'localhost'}:${port}`;
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const build = await connection.runAndReadAll(
    'SELECT library_version, p.platform FROM pragma_version(), pragma_platform() p',
  );
  const [version, platform] = (build.getRows()[0] ?? []).map(String) as [string, string];
  await connection.run(`LOAD '${extensionFile(EXTENSIONS, { version, platform }, 'httpfs')}'`);
  if (tls !== undefined) await connection.run(`SET GLOBAL ca_cert_file='${tls.authority}'`);
  await connection.run(
    `CREATE SECRET (TYPE s3, KEY_ID '${S3_KEYS.key_id}', SECRET '${S3_KEYS.secret}', ENDPOINT '${endpoint}', URL_STYLE path, USE_SSL ${tls !== undefined})`,
  );
  return {
    endpoint,
    put: async (url, select) => {
      await connection.run(`COPY (${select}) TO '${url}'`);
    },
    stop: async () => {
      connection.closeSync();
      instance.closeSync();
      await server.close();
      await remove();
    },
  };
}
