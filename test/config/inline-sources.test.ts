import { expect, test } from 'vitest';
import { type InlineSource, inlineContradictions, inlineSource } from '../../src/config/inline-sources.ts';
import { loadText } from './text.ts';

const SECRET = 'hunter2-in-the-wrong-place';
const PG = { kind: 'postgres', host: 'db.example', user: 'u', database: 'd' };
const MY = { kind: 'mysql', host: 'db.example', user: 'u' };
const BUCKET = { kind: 's3', bucket: 'b' };
const SITE = { kind: 'http', url: 'https://h/x/' };

function made(given: Readonly<Record<string, unknown>>): InlineSource {
  const source = inlineSource({ alias: 'crm', ...given });
  if ('problems' in source) throw new Error(JSON.stringify(source.problems));
  return source;
}

function problemsOf(given: Readonly<Record<string, unknown>>): string[] {
  const source = inlineSource({ alias: 'crm', ...given });
  if (!('problems' in source)) return [];
  return source.problems.map(({ path, message }) => `${path.join('.')}: ${message}`);
}

test.each([
  [PG, { port: 5432, ssl_mode: 'prefer', connect_timeout: 5_000, read_only: true }],
  [
    { ...PG, remote_query: true, statement_timeout: '1m' },
    { remote_query: true, statement_timeout: 60_000 },
  ],
  [MY, { port: 3306, ssl_mode: 'preferred' }],
  [{ ...MY, host: '[::1]' }, { host: '::1' }],
  [{ kind: 'sqlite', path: '/var/a.db' }, { read_only: true }],
  [{ kind: 'files', path: '/var/data/' }, { path: '/var/data' }],
  [{ kind: 'files', path: '/' }, { path: '/' }],
  [BUCKET, { region: 'us-east-1', prefix: '' }],
  [SITE, { views: {} }],
  [{ kind: 'ducklake', catalog: '/a/b.ducklake', data_path: '/a/data/' }, { data_path: '/a/data' }],
])('what a configuration could say of a source a request may: %j', (given, expected) => {
  expect(made(given)).toMatchObject({ alias: 'crm', source: { kind: given.kind, ...expected } });
});

test.each([
  [{ ...PG, alias: undefined }, 'alias: expected the name of the source in SQL'],
  [{ ...PG, alias: 7 }, 'alias: expected the name of the source in SQL'],
  [{ ...PG, alias: 'a b' }, 'alias: expected a name of letters, digits and _'],
  [{ ...PG, alias: 'a"; DROP TABLE x; --' }, 'alias: expected a name of letters, digits and _'],
  [{ ...PG, alias: 'a'.repeat(64) }, 'alias: expected a name of letters, digits and _'],
  [{ ...PG, alias: 'TEMP' }, 'alias: expected another name; taken: main, temp'],
  [{ ...PG, alias: '__ducklake_metadata_lake' }, 'alias: expected a name that does not begin with __'],
  [{ ...PG, alias: 'inline:crm' }, 'alias: expected a name of letters, digits and _'],
  [{ path: '/a' }, 'kind: expected one of postgres, mysql'],
  [{ kind: 'oracle' }, 'kind: expected one of postgres, mysql'],
  [{ ...PG, port: '5432' }, 'port: expected a whole number from 1 to 65535'],
  [{ ...PG, password: 1 }, 'password: expected a text'],
  // Not lent to whoever asks: what identifies the server, or its user.
  [{ ...PG, ssl_cert: '/a' }, 'ssl_cert: is for configured sources alone'],
  [{ ...MY, ssl_key: '/b' }, 'ssl_key: is for configured sources alone'],
  [{ ...PG, host: '/var/run/postgresql' }, 'host: expected a host name or an address'],
  [{ ...PG, host: '@abstract' }, 'host: expected a host name or an address'],
  [{ ...PG, host: "x' sslmode='disable" }, 'host: expected a host name or an address'],
  [{ ...PG, host: 'db.example,' }, 'host: expected one host name or address'],
  [{ ...PG, host: 'a,b' }, 'host: expected one host name or address'],
  [{ ...MY, host: 'localhost' }, 'host: expected an address such as 127.0.0.1'],
  [{ ...MY, host: 'LocalHost' }, 'host: expected an address such as 127.0.0.1'],
  [{ ...MY, remote_query: true }, 'remote_query: is for configured sources alone'],
  [{ ...PG, connect_timeout: '31s' }, 'connect_timeout: expected 30s at most'],
  [{ ...PG, ssl_mode: 'verify-full' }, 'ssl_mode: expected ssl_ca beside it'],
  [{ ...PG, ssl_ca: 'ca.pem' }, 'ssl_ca: expected an absolute path'],
  [{ ...BUCKET, ssl_ca: '/ca.pem' }, 'ssl_ca: is for configured sources alone'],
  [{ ...SITE, ssl_ca: '/ca.pem' }, 'ssl_ca: is for configured sources alone'],
  [{ kind: 'sqlite', path: 'a.db' }, 'path: expected an absolute path'],
  [{ kind: 'duckdb', path: '/a/../b.db' }, 'path: expected an absolute path'],
  [{ kind: 'duckdb', path: 's3://b/x.db' }, 'path: expected an absolute path'],
  [{ kind: 'files', path: '//a' }, 'path: expected an absolute path'],
  [{ kind: 'files', path: '/a/.' }, 'path: expected an absolute path'],
  [{ kind: 'ducklake', catalog: './a', data_path: '/a' }, 'catalog: expected an absolute path'],
  [{ kind: 'ducklake', catalog: '/a', data_path: 'a' }, 'data_path: expected an absolute path'],
  [{ kind: 'ducklake', catalog: '/a', data_path: 'https://h/a' }, 'data_path: expected the path of a folder'],
  [{ ...BUCKET, region: 'evil.example/?' }, 'region: expected a name such as us-east-1'],
  [{ ...BUCKET, key_id: 'a\r\nX: y', secret: 's' }, 'key_id: expected a text of printable ASCII'],
  [{ ...BUCKET, key_id: 'a' }, 'key_id: expected secret beside it'],
  [{ ...SITE, bearer_token: 'a\r\nX: y' }, 'bearer_token: expected a text of printable ASCII'],
  [{ ...SITE, headers: { 'X-Y': 'a\nb' } }, 'headers.X-Y: expected a text of printable ASCII'],
  [{ ...SITE, url: 'https://u:p@h/' }, 'url: expected an http:// or https:// URL without'],
  // References are the configuration's.
  [
    { ...PG, password: `\${env:HOME}` },
    'password: expected a value as it is: in a request no reference is resolved',
  ],
  [{ ...PG, password: `x\${file:/etc/passwd}y` }, 'password: expected a value as it is'],
  [{ ...PG, user: `\${ENV:HOME}` }, 'user: expected a value as it is'],
  [{ ...SITE, headers: { 'X-Y': `\${env:HOME}` } }, 'headers.X-Y: expected a value as it is'],
  [{ kind: 'files', path: `\${env:HOME}` }, 'path: expected a value as it is'],
  [{ ...PG, password: 'a\0b' }, 'password: expected a text without NUL characters'],
  [{ ...PG, password: '\ud800' }, 'password: expected a text without half of a surrogate pair'],
  [{ ...PG, password: 'x'.repeat(8_193) }, 'password: expected 8192 characters at most'],
])('of an inline source it is refused, where it stands: %j', (given, message) => {
  expect(problemsOf(given)).toEqual([expect.stringContaining(message)]);
});

test('all that is wrong is told at once, and neither a value nor an unknown key is repeated', () => {
  const given = {
    ...PG,
    host: `${SECRET} `,
    port: 0,
    [SECRET]: SECRET,
    ssl_mode: SECRET,
    connect_timeout: SECRET,
  };
  const problems = problemsOf({ ...given, alias: `${SECRET} ` });
  expect(problems.map((text) => text.split(':')[0])).toEqual(
    expect.arrayContaining(['alias', 'port', 'ssl_mode', 'connect_timeout', '']),
  );
  expect(problems.join()).not.toContain(SECRET);
  expect(problems.join()).toContain('unknown key; expected one of kind, host, user, password');
});

test('texts that only look dangerous are taken as they are', () => {
  const password = `x' sslmode='disable" \\ \n$\{x} ß`;
  const { source } = made({ ...PG, password, database: "d' host='evil" });
  expect(source.kind === 'postgres' && source.password?.reveal()).toBe(password);
});

test('a lake refers to inline sources of its own request, and to no other', () => {
  const lake = made({ alias: 'lake', kind: 'ducklake', catalog: 'pg', data_path: 's3://b/lake' });
  const pg = made({ ...PG, alias: 'pg' });
  const bucket = made({ ...BUCKET, alias: 'bucket' });
  const paths = (...sources: InlineSource[]) =>
    inlineContradictions(sources).map(({ index, problem }) => [index, ...problem.path].join('.'));
  expect(paths(lake)).toEqual(['0.catalog', '0.data_path']);
  expect(paths(pg, lake)).toEqual(['1.data_path']);
  expect(paths(bucket, lake, pg)).toEqual([]);
  const elsewhere = made({ ...BUCKET, alias: 'bucket', prefix: 'other' });
  const my = made({ ...MY, alias: 'pg' });
  expect(paths(elsewhere, lake, my)).toEqual(['1.catalog', '1.data_path']);
});

test('who may bring along what is said of principals, and of everybody only while nobody has a key', () => {
  const principals = `principals: {a: {key_hash: "sha256:${'ab'.repeat(32)}", inline_sources: [postgres, files]}}`;
  expect(loadText(`auth: {mode: api_keys, ${principals}}`).ok).toBe(true);
  expect(loadText('auth: {inline_sources: [mysql]}').ok).toBe(true);
  expect(loadText(`auth: {mode: api_keys, inline_sources: [mysql], ${principals}}`)).toMatchObject({
    problems: [
      { path: 'auth.inline_sources', message: expect.stringContaining('expected it of each principal') },
    ],
  });
  expect(loadText('auth: {inline_sources: [oracle]}')).toMatchObject({
    problems: [
      { path: 'auth.inline_sources[0]', message: expect.stringContaining('expected one of postgres') },
    ],
  });
});
