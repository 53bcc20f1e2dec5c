import { expect, it } from 'vitest';
import { configChanges, withoutRestartNeeded } from '../../src/config/changes.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';

function config(text: string): Config {
  const loaded = loadConfig({ file: '/etc/duckcoop.yaml', readFile: () => text, env: {} });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.config;
}

const changes = (before: string, after: string) => configChanges(config(before), config(after));

it('the same configuration changes nothing, however it is written', () => {
  const source = '{ kind: postgres, host: db, user: u, database: d, password: hunter2 }';
  expect(
    changes(
      `sources: { pg1: ${source} }`,
      `# another comment\nsources:\n  pg1: ${source}\nretry: { max: 1 }`,
    ),
  ).toEqual([]);
});

it.each([
  ['pools: { a: { size: 2 } }', 'pools: { a: { size: 3 } }', 'pools.a.size', 'in_place'],
  [
    'pools: { a: { restart: { intensity: 5 } } }',
    'pools: { a: { restart: { intensity: 50 } } }',
    'pools.a.restart.intensity',
    'in_place',
  ],
  ['pools: { a: { threads: 1 } }', 'pools: { a: { threads: 2 } }', 'pools.a.threads', 'workers_replaced'],
  ['chaos: { enabled: false }', 'chaos: { enabled: true }', 'chaos.enabled', 'workers_replaced'],
  ['server: { port: 1 }', 'server: { port: 2 }', 'server.port', 'restart_needed'],
  ['server: { max_body: 1MB }', 'server: { max_body: 2MB }', 'server.max_body', 'in_place'],
  ['data_dir: ./a', 'data_dir: ./b', 'data_dir', 'restart_needed'],
  [
    'sources: { s: { kind: sqlite, path: ./a } }',
    'sources: { s: { kind: sqlite, path: ./b } }',
    'sources.s.path',
    'new_version',
  ],
  ['sql: { write: false }', 'sql: { write: true }', 'sql.write', 'in_place'],
])('%s to %s changes %s: %s', (before, after, path, effect) => {
  expect(changes(before, after)).toEqual([{ path, effect }]);
});

it('a server that asks for keys goes on to do so, be the address in the file loopback or not', () => {
  const key_hash = `sha256:${'ab'.repeat(32)}`;
  const before = config(
    `{server: {host: 0.0.0.0}, auth: {mode: api_keys, principals: {a: {key_hash: "${key_hash}"}}}}`,
  );
  const after = config('{server: {host: 127.0.0.1}, auth: {mode: none}}');
  expect(configChanges(before, after)).toContainEqual({ path: 'auth.mode', effect: 'restart_needed' });
  const next = withoutRestartNeeded(before, after);
  expect([next.server.host, next.auth.mode, Object.keys(next.auth.principals)]).toEqual([
    '0.0.0.0',
    'api_keys',
    [],
  ]);
});

it('a password that changes is a change, and is told without it', () => {
  const source = (password: string) =>
    `sources: { pg1: { kind: postgres, host: db, user: u, database: d, password: ${password} } }`;
  const found = changes(source('hunter2'), source('hunter3'));
  expect(found).toEqual([{ path: 'sources.pg1.password', effect: 'new_version' }]);
  expect(JSON.stringify(found)).not.toContain('hunter');
});

it('a pool or a source that comes or goes is one change', () => {
  expect(changes('pools: { a: {} }', 'pools: { a: {}, b: { size: 1, reserve: 0 } }')).toEqual([
    { path: 'pools.b', effect: 'in_place' },
  ]);
  expect(changes('sources: { s: { kind: sqlite, path: ./a } }', '')).toEqual([
    { path: 'sources.s', effect: 'new_version' },
  ]);
});

it('what needs a restart stays as it was, and nothing else does', () => {
  const before = config('server: { port: 1, max_body: 1MB }\ndata_dir: ./a');
  const after = config('server: { port: 2, max_body: 2MB }\ndata_dir: ./b\nretry: { max: 7 }');
  const next = withoutRestartNeeded(before, after);
  expect(configChanges(before, next).map(({ path }) => path)).toEqual(['server.max_body', 'retry.max']);
});
