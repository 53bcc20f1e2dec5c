import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { Job } from '../../src/actors/job.ts';
import { asConfiguredNow, type PlacementConfig, placeQuery } from '../../src/actors/placement.ts';
import type { QueryRequest } from '../../src/actors/query.ts';
import { type InlineSource, inlineSource } from '../../src/config/inline-sources.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Secret } from '../../src/config/secret.ts';
import { ANONYMOUS, type Principal, type Role } from '../../src/principal.ts';
import type { Attachment } from '../../src/workers/protocol.ts';
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

/** As far as its sources go; `names` are what these are called. */
function jobOf(attachments: readonly Attachment[], names: readonly string[]) {
  return { statement: { attachments }, origin: { sources: names } } as unknown as Job;
}

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
  [{ sources: ['landing', 'pg'] }, { sources: new Set(['landing']) }, { kind: 'source', name: 'pg' }],
  [{ sources: ['nope'] }, { sources: new Set(['landing']) }, { kind: 'source', name: 'nope' }],
  [{ sources: ['LANDING'] }, { sources: new Set(['landing']) }, { kind: 'source', name: 'LANDING' }],
  [{ sources: ['landing'] }, { sources: new Set<string>() }, { kind: 'source', name: 'landing' }],
  // An operator whose configuration says so, too.
  [{ sources: ['pg'] }, { role: 'operator', sources: new Set(['landing']) }, { kind: 'source', name: 'pg' }],
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
  const principal = reader('analyst', { pools: ['gone'], sources: new Set(['gone', 'pg']) });
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
  const job = jobOf(placed, ['pg', 'landing']);
  const { pg } = config.sources;
  const rotated = { ...config.sources, pg: { ...pg, password: new Secret('rotated'), read_only: false } };
  const now = asConfiguredNow(job, { sources: rotated as never });
  expect(now).toEqual([{ ...placed[0], password: 'rotated' }, placed[1]]);
  // One that left the configuration, or is something else by that name, stays what the query was placed with.
  expect(asConfiguredNow(job, { sources: { pg: config.sources.landing } as never })).toEqual(placed);
});

const KINDS = ['postgres', 'files', 'sqlite', 'ducklake'] as const;
const bringing = reader('p', { inlineSources: KINDS });

function inline(alias: string, given: object): InlineSource {
  const made = inlineSource({ alias, ...given });
  if ('problems' in made) throw new Error(JSON.stringify(made.problems));
  return made;
}

const OWN_PG = { kind: 'postgres', host: 'own', user: 'me', password: 'mine', database: 'd' };

it('sources that a request brings along come behind the configured ones, and in place of one with the same alias', () => {
  const own = inline('pg', OWN_PG);
  const placed = placeQuery(request({ principal: bringing, sources: ['landing'], inline: [own] }), config);
  expect(placed.statement.attachments).toMatchObject([
    { alias: 'landing', kind: 'files' },
    { alias: 'pg', kind: 'postgres', host: 'own', password: 'mine', readOnly: true },
  ]);
  // Neither another password nor the end of the configured one is any of its business.
  const { attachments } = placed.statement;
  const job = jobOf(attachments, ['landing', 'inline:pg']);
  expect(asConfiguredNow(job, config)).toEqual(attachments);
  expect(asConfiguredNow(job, { sources: {} as never })).toEqual(attachments);
});

it('who may bring along which kinds is said of a principal, and none is the default', () => {
  const place = (principal: Principal, given: object) =>
    placeQuery(request({ principal, inline: [inline('own', given)] }), config);
  const path = '/nowhere';
  for (const principal of [
    ANONYMOUS,
    reader('p'),
    reader('p', { role: 'operator' }),
    reader('p', { inlineSources: ['files'] }),
  ])
    expect(() => place(principal, OWN_PG)).toThrow(
      expect.objectContaining({ code: 'FORBIDDEN', members: { denied: { kind: 'source', name: 'own' } } }),
    );
  expect(
    place(reader('p', { inlineSources: ['files'] }), { kind: 'files', path }).statement.attachments,
  ).toHaveLength(1);
  // A list of aliases says nothing of them.
  expect(
    place(reader('p', { sources: new Set(), inlineSources: ['postgres'] }), OWN_PG).statement.attachments,
  ).toHaveLength(1);
});

it('files with views, and catalogs, that a request brings along go with no configured source', () => {
  const lake = [inline('db', OWN_PG), inline('l', { kind: 'ducklake', catalog: 'db', data_path: '/data' })];
  const place = (sources: string[], own: InlineSource[]) =>
    placeQuery(request({ principal: bringing, sources, inline: own }), config).statement.attachments;
  for (const own of [[inline('s', { kind: 'sqlite', path: '/s.db' })], lake]) {
    expect(place([], own)).toHaveLength(own.length);
    expect(() => place(['landing'], own)).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }));
  }
  expect(place([], lake)).toMatchObject([
    {},
    { catalog: { host: 'own', password: 'mine' }, dataPath: '/data/' },
  ]);
  // One that is configured is not there for it.
  const confused = [inline('l', { kind: 'ducklake', catalog: 'pg', data_path: '/data' })];
  expect(() => place([], confused)).toThrow(/needs another inline source/);
});
