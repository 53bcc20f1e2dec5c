/** A server with sources of every kind, a reader and a writer on it, each with sessions, and the targets beside it. */
import { join } from 'node:path';
import { ROOT } from '../support/cli.ts';
import { bearer, keyHash } from '../support/principals.ts';
import type { TestServer as DatabaseServer } from '../support/servers.ts';
import {
  call,
  quickPool,
  type Reply,
  type Settings,
  startTestServer,
  type TestServer,
} from '../support/test-server.ts';
import { makeTargets, type Targets } from './targets.ts';

export const ROLES = ['reader', 'writer'] as const;
export const SCOPES = ['request', 'session'] as const;
export type Role = (typeof ROLES)[number];
export type Scope = (typeof SCOPES)[number];

export interface Sandbox {
  readonly server: TestServer;
  readonly targets: Targets;
  /** Runs SQL as somebody, with the sources that it is about, or in a session that has them. */
  run(sql: string, who: { readonly role: Role; readonly scope: Scope }, fields?: Settings): Promise<Reply>;
  /** Only what is a fault of the attack's: lost connections, crashes. */
  crashes(): number;
  close(): Promise<void>;
}

/** Those of a request. */
const SOURCES = {
  files: ['pg1'],
  remote: ['pg1', 'lk1', 'web1'],
  stored: ['pg1', 'dk1', 'dl1'],
  hostile: ['sq1', 'hs1'],
} as const;
type Sources = keyof typeof SOURCES;

/** Which of them a statement is about. */
function aboutOf(sql: string): Sources {
  if (/hs1/i.test(sql)) return 'hostile';
  if (/dk1|dl1/i.test(sql)) return 'stored';
  return /s3:\/\/|\/open\/|lk1|web1/i.test(sql) ? 'remote' : 'files';
}

const nameOf = (role: Role) => `some-${role}`;
const keyOf = (role: Role) => `key-of-the-${role}`;

export async function makeSandbox(servers: {
  readonly postgres: DatabaseServer;
  readonly mysql: DatabaseServer;
}): Promise<Sandbox> {
  const targets = await makeTargets(servers);
  const { own, files, sqlite, remote, stored, password } = targets;
  const principals = Object.fromEntries(
    ROLES.map((role) => [nameOf(role), { key_hash: keyHash(keyOf(role)), role }]),
  );
  const { host, port, user } = servers.postgres;
  const mysql = servers.mysql;
  const server = await startTestServer({
    pools: { interactive: quickPool({ size: 2, attached: { max: 2 } }) },
    sources: {
      // A server that trusts this machine asks for no password, and so takes any.
      pg1: {
        kind: 'postgres',
        host,
        port,
        user,
        database: own.postgres.database,
        password: servers.postgres.password || password,
      },
      my1: {
        ...{
          kind: 'mysql',
          host: mysql.host,
          port: mysql.port,
          user: mysql.user,
          database: own.mysql.database,
        },
        ...(mysql.password === '' ? {} : { password: mysql.password }),
      },
      sq1: { kind: 'sqlite', path: sqlite },
      f1: { kind: 'files', path: files },
      ...remote,
      ...stored,
    },
    config: {
      extensions: { directory: join(ROOT, 'extensions') },
      sql: { write: true },
      limits: Object.fromEntries(ROLES.map((role) => [role, { per_minute: 1_000_000 }])),
      auth: { mode: 'api_keys', principals },
    },
  });
  await server.server.ready;
  const post = (role: Role, path: string, body: Settings) =>
    call(server.url, 'POST', path, body, undefined, bearer(keyOf(role)));
  const sessions = new Map<Role, Readonly<Record<Sources, string>>>();
  for (const role of ROLES) {
    const open = async (...sources: string[]): Promise<string> =>
      (await post(role, '/v1/sessions', { sources })).body.session_id;
    sessions.set(role, {
      files: await open('pg1', 'sq1', 'f1'),
      remote: await open('pg1', 'lk1', 'web1'),
      stored: await open('pg1', 'dk1', 'dl1'),
      hostile: await open('sq1', 'hs1'),
    });
  }
  const fieldsOf = (sql: string, role: Role, scope: Scope) => {
    const about = aboutOf(sql);
    if (scope === 'session') return { session: sessions.get(role)?.[about] };
    return { sources: [...SOURCES[about], ...(sql.includes('my1') ? ['my1'] : [])] };
  };
  return {
    server,
    targets,
    run: (sql, { role, scope }, fields) =>
      post(role, '/v1/query', { sql, ...fieldsOf(sql, role, scope), ...fields }),
    crashes: () => server.events('worker.exited').length,
    close: async () => {
      await server.stop();
      await targets.close();
    },
  };
}
