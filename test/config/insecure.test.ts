// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references look like templates, and are none
import { expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { isLoopback } from '../../src/config/loopback.ts';
import { configOf, KEY_HASH, loadText, problemsOf } from './text.ts';

test.each(['127.0.0.1', '127.9.9.9', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', 'localhost', 'LOCALHOST'])(
  '%s is a loopback address',
  (host) => expect(isLoopback(host)).toBe(true),
);

test.each([
  '0.0.0.0',
  '::',
  '10.0.0.1',
  '::ffff:10.0.0.1',
  '128.0.0.1',
  'localhost.example.com',
  '127.0.0.1.nip.io',
  '',
])('%j is no loopback address', (host) => expect(isLoopback(host)).toBe(false));

test.each([
  ['from the file', 'server: {host: 0.0.0.0}', {}],
  ['from the file, which says none too', 'server: {host: 0.0.0.0}\nauth: {mode: none}', {}],
  ['from the command line', '', { host: '0.0.0.0' }],
  ['from a reference', 'server: {host: "${env:HOST}"}', {}],
])('an address that others reach is refused without authentication: %s', (_, text, overrides) => {
  const loaded = loadText(text, { overrides, env: { HOST: '0.0.0.0' } });
  expect(problemsOf(loaded)).toEqual([
    expect.stringMatching(/^server\.host \| .* \| expected a loopback address.*--insecure/),
  ]);
});

test('said twice it is served, with a warning', () => {
  const loaded = loadText('server: {host: 0.0.0.0}', { overrides: { insecure: true } });
  expect(configOf(loaded).server.host).toBe('0.0.0.0');
  expect(loaded).toMatchObject({ warnings: [{ path: 'server.host', value: '"0.0.0.0"', line: 1 }] });
});

test('an IPv6 address may stand in brackets', () => {
  expect(configOf(loadText('server: {host: "[::1]"}')).server.host).toBe('::1');
});

test('--insecure on a loopback address changes nothing', () => {
  expect(loadConfig({ env: {}, overrides: { insecure: true } })).toMatchObject({ ok: true, warnings: [] });
});

test('the command line wins over the file, and its values have no line', () => {
  const text = 'server: {host: 0.0.0.0, port: 1}';
  const { server } = configOf(loadText(text, { overrides: { host: '127.0.0.1', port: 0 } }));
  expect([server.host, server.port]).toEqual(['127.0.0.1', 0]);
  const loaded = loadText(text, { overrides: { host: '::1', port: 99_999 } });
  if (loaded.ok) throw new Error('loaded');
  expect(loaded.problems).toEqual([
    { path: 'server.port', value: '99999', message: 'expected a whole number from 0 to 65535' },
  ]);
});

test('the command line does not hide that server is no mapping', () => {
  expect(problemsOf(loadText('server: here', { overrides: { port: 0 } }))).toEqual([
    expect.stringMatching(/^server \| "here" \| expected a mapping of host/),
  ]);
});

test('with keys any address is served without --insecure, and without a warning', () => {
  const text = `{server: {host: 0.0.0.0}, auth: {mode: api_keys, principals: {a: {key_hash: "${KEY_HASH}"}}}}`;
  expect(loadText(text)).toMatchObject({ ok: true, warnings: [] });
});

test('principals of whom nobody asks a key are warned of', () => {
  const loaded = loadText(`auth:\n  principals: {a: {key_hash: "${KEY_HASH}"}}\n`);
  expect(loaded).toMatchObject({
    ok: true,
    warnings: [{ path: 'auth.principals', line: 2, message: expect.stringContaining('auth.mode is none') }],
  });
});
