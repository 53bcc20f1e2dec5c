import { expect, test } from 'vitest';
import { ReplacedCredentials, withCredentials } from '../../src/config/credentials.ts';
import type { Config } from '../../src/config/schema.ts';
import { secretsIn } from '../../src/config/secret.ts';
import { configOf, loadText } from './text.ts';

const SOURCES = `sources:
  pg: { kind: postgres, host: h, user: before, password: old, database: d }
  my: { kind: mysql, host: h, user: before, password: old }
  bucket: { kind: s3, bucket: b, key_id: old-id, secret: old-secret, session_token: old-token }
  web: { kind: http, url: "https://example.org/", bearer_token: old }
  shop: { kind: sqlite, path: ./shop.db }
  landing: { kind: files, path: ./data }
`;
const config = (text = SOURCES): Config => configOf(loadText(text));
const source = (alias: string, of = config()) => of.sources[alias] as Config['sources'][string];
const revealed = (value: unknown) => secretsIn(value).map((secret) => secret.reveal());

function changed(alias: string, credentials: unknown, of = config()) {
  const outcome = withCredentials(source(alias, of), credentials);
  if ('problems' in outcome) throw new Error(JSON.stringify(outcome.problems));
  return outcome.source;
}

test('credentials are replaced as a whole, and nothing else of a source', () => {
  expect(changed('pg', { password: 'new' })).toMatchObject({ user: 'before', host: 'h', database: 'd' });
  expect(changed('my', { user: 'after', password: 'new' })).toMatchObject({ user: 'after', host: 'h' });
  for (const alias of ['pg', 'my']) expect(revealed(changed(alias, { password: 'new' }))).toEqual(['new']);
  expect(revealed(changed('bucket', { key_id: 'i', secret: 's' }))).toEqual(['i', 's']);
  expect(revealed(changed('bucket', { key_id: 'i', secret: 's', session_token: 't' }))).toEqual([
    'i',
    's',
    't',
  ]);
  expect(revealed(changed('web', { bearer_token: 'new' }))).toEqual(['new']);
});

test.each([
  ['pg', {}, ['password']],
  ['pg', { password: 5 }, ['password']],
  ['pg', { password: 'hunter2', user: '' }, ['user']],
  ['pg', 'hunter2', ['']],
  ['pg', null, ['']],
  ['pg', { password: 'x', hunter2: 1 }, ['']],
  ['bucket', { key_id: 'hunter2' }, ['secret']],
  ['web', { token: 'hunter2' }, ['bearer_token', '']],
  ['shop', { password: 'hunter2' }, ['']],
  ['landing', {}, ['']],
])('of %s, %j is refused with its path, and no word of what it was', (alias, credentials, paths) => {
  const outcome = withCredentials(source(alias), credentials);
  expect(outcome).toMatchObject({ problems: paths.map((path) => ({ path })) });
  expect(JSON.stringify(outcome)).not.toContain('hunter2');
});

test('they hold over reloads until the file says something else of that source', () => {
  const replaced = new ReplacedCredentials();
  replaced.put('pg', source('pg'), changed('pg', { password: 'first' }));
  replaced.put('pg', changed('pg', { password: 'first' }), changed('pg', { password: 'new' }));
  const passwordAfter = (text: string) => revealed(replaced.apply(config(text)).sources.pg);
  expect(passwordAfter(SOURCES)).toEqual(['new']);
  expect(
    passwordAfter(SOURCES.replace('user: before, password: old }', 'user: other, password: old }')),
  ).toEqual(['new']);
  expect(
    passwordAfter(SOURCES.replace('password: old, database: d', 'password: rotated, database: d')),
  ).toEqual(['rotated']);
  // What it said once is no reason to go back to them.
  expect(passwordAfter(SOURCES)).toEqual(['old']);
  replaced.put('pg', source('pg'), changed('pg', { password: 'new' }));
  expect(replaced.apply(config('server: {}')).sources.pg).toBeUndefined();
});
