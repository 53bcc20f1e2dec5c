import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { configOf, FOLDER, KEY_HASH, loadText } from './text.ts';

const OTHER_HASH = `sha256:${'01'.repeat(32)}`;
const EXAMPLE = readFileSync(new URL('./example.yaml', import.meta.url), 'utf8')
  .replace('sha256:...', KEY_HASH)
  .replace('sha256:...', OTHER_HASH);
const ENV = { PG_PASSWORD: 'pg-password', S3_KEY: 's3-key', S3_SECRET: 's3-secret' };

const interactive = {
  size: 2,
  reserve: 1,
  dispatch_window: 3,
  threads: 2,
  memory_limit: 1e9,
  memory_hard_limit: 2e9,
  temp_limit: 4e9,
  nice: 5,
  timeout: 60_000,
  cancel_grace: 500,
  start_timeout: 30_000,
  heartbeat: { interval: 1000, timeout: 10_000 },
  queue: { max: 100, timeout: 30_000 },
  attached: { max: 2, idle_timeout: 60_000 },
  recycle: { max_queries: 10_000, max_age: 21_600_000 },
  restart: {
    strategy: 'one_for_one',
    type: 'permanent',
    intensity: 5,
    period: 10_000,
    backoff: { initial: 100, max: 30_000, factor: 2, jitter: 0.2, reset_after: 60_000 },
    shutdown: 5000,
  },
};

const DEFAULTS = {
  server: {
    host: '127.0.0.1',
    port: 8480,
    allowed_hosts: [],
    drain_timeout: 10_000,
    max_body: 1e6,
    client_write_timeout: 30_000,
    max_result: 16e6,
  },
  data_dir: resolve('.duckcoop'),
  extensions: {
    directory: resolve('extensions'),
    load: ['postgres_scanner', 'mysql_scanner', 'httpfs', 'sqlite_scanner', 'ducklake'],
  },
  pools: { interactive },
  reload: { watch: false },
  retry: { max: 1 },
  quarantine: { crashes: 2, window: 600_000, for: 600_000 },
  crashes: { keep: 200, max_age: 2_592_000_000, include_sql: false },
  sources: {},
  sessions: {
    max: 20,
    spare: 1,
    ttl: 28_800_000,
    idle_timeout: 900_000,
    memory_limit: 512e6,
    disk_limit: 2e9,
  },
  results: { retention: 3_600_000, disk_limit: 4_000_000_000 },
  exports: {
    retention: 86_400_000,
    link_ttl: 3_600_000,
    disk_limit: 20_000_000_000,
    egress: { host: null, port: 8481, url: null },
  },
  budget: { memory: 8e9 },
  auth: { mode: 'none', principals: {}, inline_sources: [] },
  limits: {
    reader: { concurrent: 4, queued: 20, per_minute: 600, crash_budget: { crashes: 5, window: 600_000 } },
  },
  sql: { allow_functions: [], write: false },
  telemetry: { log_level: 'info', otlp_endpoint: null, slow_query: 5000, audit: false, audit_sql: false },
  chaos: { enabled: false },
};

test('with no file at all every key has its default', () => {
  const loaded = loadConfig({ env: {} });
  expect(loaded).toMatchObject({ ok: true, warnings: [] });
  expect(configOf(loaded)).toEqual(DEFAULTS);
});

test.each(['', '# nothing\n', '{}', 'server:\npools:\nsources:\n', 'pools: { interactive: }'])(
  'a file that sets nothing has the same defaults: %j',
  (text) => {
    expect(configOf(loadText(text)).pools).toEqual(DEFAULTS.pools);
    expect(configOf(loadText(text)).server).toEqual(DEFAULTS.server);
  },
);

test('the example of the documentation loads, and writes out the defaults', () => {
  const config = configOf(loadText(EXAMPLE, { env: ENV }));
  const { data_dir, extensions, pools, sources, auth, ...rest } = config;
  const { data_dir: _, extensions: __, pools: ___, sources: ____, auth: _____, ...defaults } = DEFAULTS;
  expect(rest).toEqual(defaults);
  expect(data_dir).toBe(`${FOLDER}/.duckcoop`);
  expect(extensions).toEqual({ ...DEFAULTS.extensions, directory: `${FOLDER}/extensions` });
  expect(pools).toEqual({
    interactive,
    exports: { ...interactive, size: 1, reserve: 0, timeout: 1_800_000 },
  });
  expect(Object.keys(sources)).toEqual(['pg1', 'my1', 'lake', 'landing', 'app']);
  expect(auth).toMatchObject({
    mode: 'none',
    principals: {
      analyst: { role: 'reader', sources: ['pg1', 'my1'], pools: ['interactive'] },
      ops: { role: 'operator' },
    },
  });
  expect(auth.principals.ops?.sources).toBeUndefined();
});

test('the sources of the example have their credentials, absolute paths and safe defaults', () => {
  const { sources } = configOf(loadText(EXAMPLE, { env: ENV }));
  const { pg1, my1, lake, landing, app } = sources;
  if (pg1?.kind !== 'postgres' || lake?.kind !== 's3') throw new Error('other kinds');
  expect(pg1).toMatchObject({
    host: '127.0.0.1',
    port: 5432,
    user: 'app',
    database: 'test',
    ssl_mode: 'prefer',
  });
  expect(pg1.password?.reveal()).toBe('pg-password');
  expect(lake).toMatchObject({
    bucket: 'lake',
    endpoint: '127.0.0.1:4568',
    url_style: 'path',
    use_ssl: false,
  });
  expect([lake.key_id?.reveal(), lake.secret?.reveal()]).toEqual(['s3-key', 's3-secret']);
  expect(my1).toMatchObject({ port: 3306, database: 'analytics', connect_timeout: 5_000 });
  expect(landing).toMatchObject({ path: `${FOLDER}/data`, views: {} });
  expect(app).toMatchObject({ path: `${FOLDER}/app.db` });
  expect(Object.values(sources).map((source) => source.read_only)).toEqual([true, true, true, true, true]);
});

test('a pool other than exports keeps a worker in reserve, and any pool as many as it says', () => {
  const text = 'budget: {memory: 99GB}\npools: {a: {}, exports: {}, b: {reserve: 3}}';
  const { pools } = configOf(loadText(text));
  expect([pools.a?.reserve, pools.exports?.reserve, pools.b?.reserve]).toEqual([1, 0, 3]);
});

test('pools that are configured replace the default pool', () => {
  expect(Object.keys(configOf(loadText('pools: {batch: {size: 1}}')).pools)).toEqual(['batch']);
});

test('a limit that is not given is no limit, and a crash budget only where one is named', () => {
  const { limits } = configOf(loadText('limits: {writer: {concurrent: 1}, anonymous: {crash_budget: {}}}'));
  expect(limits).toEqual({
    writer: { concurrent: 1 },
    anonymous: { crash_budget: { crashes: 5, window: 600_000 } },
  });
});

test('names that every object has are no pools, sources or principals', () => {
  const config = configOf(loadConfig({ env: {} }));
  for (const record of [config.pools, config.sources, config.auth.principals, config.limits]) {
    expect(record.constructor).toBeUndefined();
    expect(Object.getPrototypeOf(record)).toBeNull();
  }
});
