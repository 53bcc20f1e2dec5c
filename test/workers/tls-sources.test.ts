/** Sources over TLS: what connects, and what a certificate that proves nothing gives. */
import { chmodSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toAttachment } from '../../src/actors/attachment.ts';
import { sourceSchema } from '../../src/config/sources.ts';
import { S3_KEYS, type S3Server, startS3Server } from '../support/s3-server.ts';
import { tcpProxy } from '../support/tcp-proxy.ts';
import { makeFolder } from '../support/temp.ts';
import type { ThrowawayServer } from '../support/throwaway.ts';
import {
  AUTHORITY,
  CLIENT,
  FOREIGN_CLIENT,
  OTHER_AUTHORITY,
  PASSWORD,
  SERVER,
  startTlsMariadb,
  startTlsPostgres,
} from '../support/tls-servers.ts';
import { EXTENSIONS, type RunOptions, useRunFolders, useWorker } from './worker-harness.ts';

const servers = { postgres: await startTlsPostgres(), mysql: await startTlsMariadb() };
useRunFolders();
const names = ['postgres_scanner', 'mysql_scanner', 'httpfs'];
const worker = useWorker({ configure: { extensions: { directory: EXTENSIONS, names } } });

let folder: string;
let remove: () => Promise<void>;
let s3: S3Server;
beforeAll(async () => {
  ({ path: folder, remove } = await makeFolder());
  for (const [name, { key }] of Object.entries({ client: CLIENT, foreign: FOREIGN_CLIENT })) {
    copyFileSync(key, join(folder, name));
    // libpq takes no key that others may read.
    chmodSync(join(folder, name), 0o600);
  }
  s3 = await startS3Server(['lake'], { tls: { ...SERVER, authority: AUTHORITY } });
  await s3.put('s3://lake/a.csv', 'SELECT 42 AS id');
});
afterAll(async () => {
  await s3?.stop();
  await Promise.all(Object.values(servers).map((server: ThrowawayServer | undefined) => server?.stop()));
  await remove();
});

/** A source as the configuration has it, and as a worker attaches it. */
function attached(settings: Readonly<Record<string, unknown>>): RunOptions {
  const source = sourceSchema.parse(settings);
  const attachment = toAttachment('db', source, { db: source });
  return { attachments: attachment === undefined ? [] : [attachment] };
}

const client = () => ({ ssl_cert: CLIENT.cert, ssl_key: join(folder, 'client') });
const foreign = () => ({ ssl_cert: FOREIGN_CLIENT.cert, ssl_key: join(folder, 'foreign') });

const MODES = {
  postgres: { encrypted: 'require', authority: 'verify-ca', name: 'verify-full', plain: 'disable' },
  mysql: { encrypted: 'required', authority: 'verify_ca', name: 'verify_identity', plain: 'disabled' },
} as const;

describe.each(['postgres', 'mysql'] as const)('a %s server over TLS', (kind) => {
  const server = servers[kind];
  const modes = MODES[kind];
  const sql = `SELECT id FROM db.${kind === 'postgres' ? 'public' : 'test'}.t`;
  const source = (settings: Readonly<Record<string, unknown>>) =>
    attached({
      ...{
        kind,
        host: 'localhost',
        port: server?.port,
        database: 'test',
        user: 'secured',
        password: PASSWORD,
      },
      ...settings,
    });
  const refused = async (reason: string, settings: Readonly<Record<string, unknown>>) => {
    const failed = await worker().failure(sql, source(settings));
    expect(failed, JSON.stringify(settings)).toMatchObject({
      code: 'SOURCE_UNAVAILABLE',
      members: { source: 'db', reason },
    });
    for (const line of PASSWORD.split('\n')) expect(failed.detail).not.toContain(line);
  };

  it.skipIf(server === undefined)(
    'is read in every mode that it allows, with a password that is no text’s friend',
    async () => {
      const { encrypted, authority, name } = modes;
      const settings = [
        { ssl_mode: encrypted },
        { ssl_mode: authority, ssl_ca: AUTHORITY },
        { ssl_mode: authority, ssl_ca: AUTHORITY, host: '127.0.0.1' },
        { ssl_mode: name, ssl_ca: AUTHORITY },
      ];
      for (const each of settings) expect(await worker().rows(sql, source(each))).toEqual([[42]]);
    },
  );

  it.skipIf(server === undefined)('is not read without TLS, which it wants', async () => {
    await refused('authentication', { ssl_mode: modes.plain });
  });

  it.skipIf(server === undefined)(
    'is not read where nobody vouches for it, or not for that name',
    async () => {
      const { authority, name } = modes;
      for (const ssl_mode of [authority, name]) await refused('tls', { ssl_mode, ssl_ca: OTHER_AUTHORITY });
      // DuckDB's MySQL extension takes 127.0.0.1 for another name of localhost, and tries both.
      const elsewhere = await tcpProxy({ host: 'localhost', port: server?.port ?? 0 }, '127.0.0.2');
      try {
        await refused('tls', {
          ssl_mode: name,
          ssl_ca: AUTHORITY,
          host: '127.0.0.2',
          port: elsewhere.port,
        });
      } finally {
        await elsewhere.close();
      }
      await refused('tls', { ssl_mode: name, ssl_ca: join(folder, 'none') });
    },
  );

  it.skipIf(server === undefined)(
    'knows a client by its certificate, and by none of another authority',
    async () => {
      const certified = { user: 'certified', password: undefined, ssl_mode: modes.name, ssl_ca: AUTHORITY };
      expect(await worker().rows(sql, source({ ...certified, ...client() }))).toEqual([[42]]);
      for (const certificate of [{}, foreign()]) {
        const failed = await worker().failure(sql, source({ ...certified, ...certificate }));
        expect(failed).toMatchObject({ code: 'SOURCE_UNAVAILABLE', members: { source: 'db' } });
        expect(failed.members, failed.detail).toMatchObject({
          // With TLS 1.3 the server refuses it only when the client is already at the next message.
          reason: expect.stringMatching(/^(tls|authentication|server_error)$/),
        });
      }
    },
  );
});

describe('a bucket over TLS', () => {
  const sql = "SELECT id FROM 's3://lake/a.csv'";
  const source = (settings: Readonly<Record<string, unknown>>) =>
    attached({
      ...{ kind: 's3', bucket: 'lake', endpoint: s3.endpoint, url_style: 'path', use_ssl: true, ...S3_KEYS },
      ...settings,
    });

  it('is read where its authority vouches for it', async () => {
    expect(await worker().rows(sql, source({ ssl_ca: AUTHORITY }))).toEqual([[42]]);
  });

  it.each([
    ['by another authority', () => ({ ssl_ca: OTHER_AUTHORITY })],
    ['by none of the system’s', () => ({})],
    [
      'for another name',
      () => ({ ssl_ca: AUTHORITY, endpoint: s3.endpoint.replace('localhost', '127.0.0.1') }),
    ],
  ])('is not read %s', async (_, settings) => {
    const failed = await worker().failure(sql, source(settings()));
    expect(failed).toMatchObject({ code: 'SOURCE_UNAVAILABLE', members: { source: 'db', reason: 'tls' } });
    expect(failed.detail).not.toContain(S3_KEYS.secret);
  });
});
