import { expect, test } from 'vitest';
import { formatProblems } from '../../src/config/problems.ts';
import { KEY_HASH, loadText, pathsOf, problemsOf } from './text.ts';

test('types, unknown keys, names and contradictions are told all at once, in the order of the file', () => {
  const loaded = loadText(`
server: { host: 0.0.0.0, port: 70000, prot: 1 }
pools:
  a b: { size: 0 }
  interactive:
    memory_limit: 4GB
    timeout: 60
    heartbeat: { interval: 10s, timeout: 5s }
    restart: { backoff: { initial: 1m, factor: 0.5, jitter: 2 } }
sources:
  main: { kind: sqlite, path: ./a.db }
  pg1: { kind: postgres, user: app, database: d }
  x: { kind: oracle }
  lake: { kind: s3, bucket: b, key_id: k }
auth:
  principals:
    analyst: { key_hash: abc, sources: [pg1, pg2], pools: [fast] }
limits: { nobody: { concurrent: 1 } }
bogus: 1
`);
  expect(pathsOf(loaded)).toEqual([
    'server.host',
    'server.port',
    'server.prot',
    'pools["a b"]',
    'pools["a b"].size',
    'pools.interactive.memory_limit',
    'pools.interactive.timeout',
    'pools.interactive.heartbeat.interval',
    'pools.interactive.restart.backoff.initial',
    'pools.interactive.restart.backoff.factor',
    'pools.interactive.restart.backoff.jitter',
    'sources.main',
    'sources.pg1.host',
    'sources.x.kind',
    'sources.lake.key_id',
    'auth.principals.analyst.key_hash',
    'auth.principals.analyst.sources[1]',
    'auth.principals.analyst.pools[0]',
    'limits.nobody',
    'bogus',
  ]);
});

test('a problem says where, what stands there and what was expected', () => {
  const loaded = loadText('pools:\n  interactive:\n    memory_limit: 4GB\n    memory_hard_limit: 2500MB\n');
  if (loaded.ok) throw new Error('loaded');
  expect(loaded.problems).toEqual([
    {
      path: 'pools.interactive.memory_limit',
      value: '"4GB"',
      message: 'expected memory_hard_limit, "2500MB", at most',
      line: 3,
      column: 5,
    },
  ]);
  expect(formatProblems(loaded.problems, 'duckcoop.yaml')).toBe(
    'duckcoop.yaml:3:5: pools.interactive.memory_limit is "4GB": expected memory_hard_limit, "2500MB", at most',
  );
});

test('a missing value is a problem without a value, in the line of what misses it', () => {
  const loaded = loadText('sources:\n  x:\n    kind: sqlite\n');
  if (loaded.ok) throw new Error('loaded');
  expect(loaded.problems).toMatchObject([{ path: 'sources.x.path', line: 2 }]);
  expect(loaded.problems[0]).not.toHaveProperty('value');
});

/** Each alone, on the fewest lines that show it. */
test.each([
  ['pools: {p: {size: 0}}', 'pools.p.size | 0 | expected a whole number, 1 or more'],
  ['pools: {p: {size: 1.5}}', 'pools.p.size | 1.5 | expected a whole number, 1 or more'],
  ['pools: {p: {size: "2"}}', 'pools.p.size | "2" | expected a whole number, 1 or more'],
  ['pools: {p: {nice: -5}}', 'pools.p.nice | -5 | expected a whole number from 0 to 19'],
  [
    'pools: {p: {memory_limit: 3GB}}',
    'pools.p.memory_limit | "3GB" | expected memory_hard_limit, 2GB (default), at most',
  ],
  [
    'pools: {p: {restart: {backoff: {initial: 2s, max: 1s}}}}',
    'pools.p.restart.backoff.initial | "2s" | expected backoff.max, "1s", at most',
  ],
  [
    'pools: {p: {restart: {backoff: {factor: 0.9}}}}',
    'pools.p.restart.backoff.factor | 0.9 | expected a number, 1 or more',
  ],
  [
    'pools: {p: {restart: {backoff: {jitter: 1.1}}}}',
    'pools.p.restart.backoff.jitter | 1.1 | expected a number from 0 to 1',
  ],
  [
    'pools: {p: {restart: {shutdown: later}}}',
    'pools.p.restart.shutdown | "later" | expected a duration such as "5s", or brutal-kill, or infinity',
  ],
  [
    'pools: {p: {memory_hard_limit: 512MB}}',
    'pools.p.memory_limit | - | expected memory_hard_limit, "512MB", at most, instead of 1GB (default)',
  ],
  [
    'pools: {p: {restart: {strategy: any}}}',
    'pools.p.restart.strategy | "any" | expected one of one_for_one, one_for_all, rest_for_one',
  ],
  [
    'pools: {p: {heartbeat: {interval: 10s}}}',
    'pools.p.heartbeat.interval | "10s" | expected less than heartbeat.timeout, 10s (default)',
  ],
  [
    'pools: {p: {timeout: 0s}}',
    'pools.p.timeout | "0s" | expected a duration with its unit, such as "500ms", "10s", "5m", "6h" or "1d", more than zero',
  ],
  ['pools: {p: 3}', 'pools.p | 3 | expected a mapping of size, reserve'],
  ['pools: [p]', 'pools | a list | expected a mapping of names'],
  ['server: {port: -1}', 'server.port | -1 | expected a whole number from 0 to 65535'],
  ['server: {max_body: lots}', 'server.max_body | "lots" | expected a size, such as "512MB"'],
  ['server: {max_body: 0}', 'server.max_body | 0 | expected a size, such as "512MB"'],
  ['servers: {}', 'servers | - | unknown key; expected one of server, data_dir'],
  ['- a', ' | a list | expected a mapping of server, data_dir'],
  [
    'budget: {memory: 5GB}',
    'budget.memory | "5GB" | expected the 6GB that the pools may take or more: interactive (2 (default) + 1 (default) in reserve) x 2GB (default)',
  ],
  [
    'pools: {p: {size: 4}}',
    'budget.memory | - | expected the 10GB that the pools may take or more, instead of 8GB (default): p (4 + 1 (default) in reserve) x 2GB (default)',
  ],
  ['auth: {mode: open}', 'auth.mode | "open" | expected one of none, api_keys'],
  [
    `auth: {principals: {reader: {key_hash: "${KEY_HASH}"}}}`,
    'auth.principals.reader | a mapping | expected another name; taken: reader, writer, operator, anonymous',
  ],
  [
    `auth: {principals: {a: {key_hash: "${KEY_HASH}"}, b: {key_hash: "${KEY_HASH.toUpperCase().replace('SHA', 'sha')}"}}}`,
    'auth.principals.b.key_hash | [secret] | expected a key of its own; a has the same',
  ],
  [
    `auth: {principals: {a: {key_hash: "${KEY_HASH}", sources: [x]}}}`,
    'auth.principals.a.sources[0] | "x" | expected none: there are no sources',
  ],
  [
    'auth: {principals: {a: {role: reader}}}',
    'auth.principals.a.key_hash | - | expected "sha256:" and the 64',
  ],
  [
    'limits: {ghost: {}}',
    'limits.ghost | a mapping | expected a role or a principal: reader, writer, operator, anonymous',
  ],
  ['exports: {retention: 1h}', 'exports | a mapping | expected a pool named exports'],
  [
    '{pools: {interactive: {size: 1}, exports: {size: 1}}, exports: {egress: {port: 8480}}}',
    'exports.egress.port | 8480 | expected another port than server.port',
  ],
  [
    'telemetry: {otlp_endpoint: "localhost:4317"}',
    'telemetry.otlp_endpoint | "localhost:4317" | expected an http:// or https:// URL',
  ],
  [
    'sources: {1a: {kind: sqlite, path: x}}',
    'sources.1a | a mapping | expected a name of letters, digits and _',
  ],
  [
    'sources: {Main: {kind: sqlite, path: x}}',
    'sources.Main | a mapping | expected another name; taken: main, temp',
  ],
  [
    'sources: {a: {kind: sqlite, path: x}, A: {kind: sqlite, path: y}}',
    'sources.A | a mapping | expected another alias: DuckDB takes a for the same',
  ],
  [
    'sources: {a: {path: x}}',
    'sources.a.kind | - | expected one of postgres, mysql, sqlite, duckdb, s3, http, files, ducklake',
  ],
  [
    'sources: {a: {kind: postgres, host: h, user: u, database: d, ssl_mode: verify-full}}',
    'sources.a.ssl_mode | "verify-full" | expected ssl_ca beside it',
  ],
  [
    'sources: {a: {kind: mysql, host: h, user: u, ssl_cert: c.pem}}',
    'sources.a.ssl_cert | "c.pem" | expected ssl_key beside it',
  ],
  [
    'sources: {a: {kind: mysql, host: "h:3306/x", user: u}}',
    'sources.a.host | "h:3306/x" | expected a host name',
  ],
  [
    'sources: {a: {kind: s3, bucket: b, endpoint: "https://x"}}',
    'sources.a.endpoint | "https://x" | expected host or host:port',
  ],
  [
    'sources: {a: {kind: s3, bucket: b, session_token: t}}',
    'sources.a.session_token | [secret] | expected key_id and secret beside it',
  ],
  [
    'sources: {a: {kind: files, path: d, views: {v: ../x.csv}}}',
    'sources.a.views.v.path | - | expected a path below the source',
  ],
  [
    'sources: {a: {kind: http, url: "ftp://x"}}',
    'sources.a.url | "ftp://x" | expected an http:// or https:// URL',
  ],
  [
    'sources: {a: {kind: http, url: "http://x", read_only: false}}',
    'sources.a.read_only | false | expected true: http sources are only read',
  ],
  [
    'sources: {a: {kind: ducklake, catalog: b, data_path: d}}',
    'sources.a.catalog | "b" | expected the alias of a configured',
  ],
  [
    'sources: {a: {kind: sqlite, path: 5}}',
    'sources.a.path | 5 | expected a text (in quotes when it looks like a number)',
  ],
  ['sql: {allow_functions: ["a(b)"]}', 'sql.allow_functions[0] | "a(b)" | expected a list of function names'],
])('%s', (text, expected) => {
  const problems = problemsOf(loadText(text));
  expect(problems).toHaveLength(1);
  expect(problems[0]?.slice(0, expected.length)).toBe(expected);
});

test('what rests on a refused value is not reported a second time', () => {
  expect(pathsOf(loadText('pools: {p: {memory_limit: 4GB, memory_hard_limit: much}}'))).toEqual([
    'pools.p.memory_hard_limit',
  ]);
  expect(
    pathsOf(
      loadText(
        `{sources: {x: {kind: nix}}, auth: {principals: {a: {key_hash: "${KEY_HASH}", sources: [x]}}}}`,
      ),
    ),
  ).toEqual(['sources.x.kind']);
  expect(pathsOf(loadText('{auth: {principals: {a: {key_hash: 5}}}, limits: {a: {concurrent: 1}}}'))).toEqual(
    ['auth.principals.a.key_hash'],
  );
});

test('a wrong value hides no contradiction of its neighbours', () => {
  const text = 'sources: {a: {kind: mysql, host: h, user: u, port: x, ssl_mode: verify_ca}}';
  expect(pathsOf(loadText(text)).sort()).toEqual(['sources.a.port', 'sources.a.ssl_mode']);
});

test.each(['h:3306', 'h/x', 'a b', 'u@h', '[h]:1', 'h=1', '::1:x'])('%j is no host', (host) => {
  expect(pathsOf(loadText(`server: {host: "${host}"}`))).toEqual(['server.host']);
});

test.each(['/abs', '../up', 'a/../b', 's3://b'])('%j is no prefix of a bucket', (prefix) => {
  expect(pathsOf(loadText(`sources: {a: {kind: s3, bucket: b, prefix: "${prefix}"}}`))).toEqual([
    'sources.a.prefix',
  ]);
});

test('a list with one wrong entry is one problem, and its neighbours stay', () => {
  const text = '{extensions: {load: [json, "../x", icu]}, pools: {p: {size: 0}}}';
  expect(pathsOf(loadText(text)).sort()).toEqual(['extensions.load[1]', 'pools.p.size']);
});

test('keys without a principal are refused, and a principal that is refused for itself is one', () => {
  expect(problemsOf(loadText('auth: {mode: api_keys}'))).toEqual([
    'auth.principals | - | expected a principal at least while auth.mode is api_keys',
  ]);
  expect(pathsOf(loadText('auth: {mode: api_keys, principals: {a: {key_hash: 5}}}'))).toEqual([
    'auth.principals.a.key_hash',
  ]);
});
