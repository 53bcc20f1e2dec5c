import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { asConfiguredNow, type PlacementConfig, placeQuery } from '../../src/actors/placement.ts';
import type { QueryRequest } from '../../src/actors/query.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Secret } from '../../src/config/secret.ts';
import { ANONYMOUS, type Role } from '../../src/principal.ts';
import { reader } from '../support/principals.ts';
import { makeFolder } from '../support/temp.ts';

const SETTINGS = {
  pools: {
    exports: { size: 1 },
    interactive: { threads: 2, memory_limit: '1GB', timeout: '60s', queue: { timeout: '30s' } },
  },
  sources: {
    pg: { kind: 'postgres', host: 'db', user: 'app', password: 'secret', database: 'test' },
    landing: { kind: 'files', path: './data' },
    lake: { kind: 'ducklake', catalog: 'pg', data_path: 'data' },
  },
};

let config: PlacementConfig;

async function load(settings: object): Promise<PlacementConfig> {
  const { path, remove } = await makeFolder();
  const file = join(path, 'duckcoop.yaml');
  writeFileSync(file, stringify(settings));
  const loaded = loadConfig({ file });
  await remove();
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.config;
}

beforeAll(async () => {
  config = await load(SETTINGS);
});

function request(fields: Partial<QueryRequest> = {}): QueryRequest {
  return {
    queryId: 'q',
    sql: 'SELECT 1',
    params: undefined,
    rowFormat: 'arrays',
    output: undefined,
    sources: [],
    pool: undefined,
    timeoutMs: undefined,
    queueTimeoutMs: undefined,
    rowLimit: undefined,
    byteLimit: undefined,
    memoryLimit: undefined,
    threads: undefined,
    readOnly: false,
    tags: {},
    principal: ANONYMOUS,
    ...fields,
  };
}

it('a query that names no pool goes to interactive, or to the first that is not for exports', async () => {
  expect(placeQuery(request(), config).pool).toBe('interactive');
  expect(placeQuery(request({ pool: 'exports' }), config).pool).toBe('exports');
  const other = await load({ pools: { exports: {}, slow: {}, fast: {} }, budget: { memory: '64GB' } });
  expect(placeQuery(request(), other).pool).toBe('slow');
  expect(placeQuery(request(), await load({ pools: { exports: {} } })).pool).toBe('exports');
});

it('a request may lower the limits of its pool, and never raise them', () => {
  const lower = { timeoutMs: 10, queueTimeoutMs: 20, memoryLimit: 1_000, threads: 1 };
  expect(placeQuery(request(lower), config)).toMatchObject({
    timeoutMs: 10,
    queueTimeoutMs: 20,
    statement: { memoryLimit: 1_000, threads: 1 },
  });
  const higher = { timeoutMs: 1e9, queueTimeoutMs: 1e9, memoryLimit: 1e12, threads: 99 };
  const placement = placeQuery(request(higher), config);
  expect(placement).toMatchObject({ timeoutMs: 60_000, queueTimeoutMs: 30_000 });
  expect(placement.statement).not.toHaveProperty('memoryLimit');
  expect(placement.statement).not.toHaveProperty('threads');
});

it('a statement may write only where the configuration and the request both allow it', async () => {
  expect(placeQuery(request(), config).statement.write).toBe(false);
  const writing = await load({ ...SETTINGS, sql: { write: true } });
  expect(placeQuery(request(), writing).statement.write).toBe(true);
  expect(placeQuery(request({ readOnly: true }), writing).statement.write).toBe(false);
});

it('only who may write has a statement that may', async () => {
  const writing = await load({ ...SETTINGS, sql: { write: true } });
  const write = (role: Role, settings = writing) =>
    placeQuery(request({ principal: reader('p', { role }) }), settings).statement.write;
  expect([write('reader'), write('writer'), write('operator')]).toEqual([false, true, true]);
  expect([write('reader', config), write('writer', config), write('operator', config)]).toEqual([
    false,
    false,
    false,
  ]);
});

it("a query that names no pool goes to the first of the pools that are its principal's", () => {
  const placed = (pools: string[]) => placeQuery(request({ principal: reader('p', { pools }) }), config).pool;
  expect(placed(['exports', 'interactive'])).toBe('exports');
  expect(placed(['interactive'])).toBe('interactive');
});

it.each([
  [{ pool: 'exports' }, { pools: ['interactive'] }, { kind: 'pool', name: 'exports' }],
  [{ pool: 'nope' }, { pools: ['interactive'] }, { kind: 'pool', name: 'nope' }],
  [{}, { pools: [] }, { kind: 'pool', name: '*' }],
  [{ sources: ['landing', 'pg'] }, { sources: ['landing'] }, { kind: 'source', name: 'pg' }],
  [{ sources: ['nope'] }, { sources: ['landing'] }, { kind: 'source', name: 'nope' }],
  [{ sources: ['LANDING'] }, { sources: ['landing'] }, { kind: 'source', name: 'LANDING' }],
  [{ sources: ['landing'] }, { sources: [] }, { kind: 'source', name: 'landing' }],
  // An operator whose configuration says so, too.
  [{ sources: ['pg'] }, { role: 'operator', sources: ['landing'] }, { kind: 'source', name: 'pg' }],
] as const)(
  'what its principal may not use is forbidden, be it there or not: %j of %j',
  (fields, given, denied) => {
    const principal = reader('analyst', given);
    const place = () => placeQuery(request({ ...fields, principal }), config);
    expect(place).toThrow(expect.objectContaining({ code: 'FORBIDDEN', members: { denied } }));
    const others = ['exports', 'pg', 'lake'].filter((name) => name !== denied.name);
    expect(place).not.toThrow(new RegExp(others.join('|')));
  },
);

it('what is on its list but not there is refused without a word of what else there is', () => {
  const principal = reader('analyst', { pools: ['gone'], sources: ['gone', 'pg'] });
  expect(() => placeQuery(request({ principal }), config)).toThrow(/no pool is named "gone"; there are $/);
  const sources = { principal: { ...principal, pools: undefined }, sources: ['gone'] };
  expect(() => placeQuery(request(sources), config)).toThrow(/no source is named "gone"; there are pg$/);
});

it('sources become what a worker needs to attach them, each once', () => {
  const { attachments } = placeQuery(request({ sources: ['pg', 'landing', 'pg'] }), config).statement;
  expect(attachments).toMatchObject([
    { kind: 'postgres', alias: 'pg', host: 'db', user: 'app', password: 'secret', database: 'test' },
    { kind: 'files', alias: 'landing', views: [] },
  ]);
});

it.each([
  [{ pool: 'nope' }, 'pool', /no pool is named "nope"; there are exports, interactive/],
  [{ pool: 'toString' }, 'pool', /no pool is named "toString"/],
  [{ sources: ['landing', 'nope'] }, 'sources[1]', /no source is named "nope"; there are pg, landing, lake/],
  [{ sources: ['__proto__'] }, 'sources[0]', /no source is named "__proto__"/],
])('what is not there is refused with its path: %j', (fields, path, message) => {
  expect(() => placeQuery(request(fields), config)).toThrow(
    expect.objectContaining({
      code: 'INVALID_REQUEST',
      message: expect.stringMatching(message),
      members: { errors: [{ path, message: expect.any(String) }] },
    }),
  );
});

it('a query that begins has the sources as they are configured by then, and may write to no more of them than before', () => {
  const placed = placeQuery(request({ sources: ['pg', 'landing'] }), config).statement.attachments;
  const { pg } = config.sources;
  const rotated = { ...config.sources, pg: { ...pg, password: new Secret('rotated'), read_only: false } };
  const now = asConfiguredNow(placed, { sources: rotated as never });
  expect(now).toEqual([{ ...placed[0], password: 'rotated' }, placed[1]]);
  // One that left the configuration, or is something else by that name, stays what the query was placed with.
  expect(asConfiguredNow(placed, { sources: { pg: config.sources.landing } as never })).toEqual(placed);
});
