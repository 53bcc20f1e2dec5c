import { format, inspect } from 'node:util';
import { expect, test } from 'vitest';
import { Secret, secretsIn } from '../../src/config/secret.ts';

const secret = new Secret('hunter2');

test.each<[string, () => string]>([
  ['a template', () => `${secret}`],
  ['concatenation', () => `a${String(secret)}`],
  ['JSON', () => JSON.stringify({ secret })],
  ['inspect', () => inspect({ secret }, { depth: 9, showHidden: true })],
  ['format', () => format('%s %o %j %O', secret, secret, secret, secret)],
  ['its keys', () => JSON.stringify([Object.entries(secret), { ...secret }])],
  ['an error', () => String(new Error(`no ${secret}`))],
])('a secret does not show in %s', (_, text) => expect(text()).not.toContain('hunter2'));

test('a structured clone of a secret carries no value', () => {
  expect(inspect(structuredClone({ secret }), { showHidden: true })).not.toContain('hunter2');
});

test('a secret is revealed on purpose', () => expect(secret.reveal()).toBe('hunter2'));

test('secrets are found wherever they are in plain data', () => {
  const other = new Secret('b');
  expect(secretsIn({ a: [{ secret }], b: { c: other }, d: null, e: 1 })).toEqual([secret, other]);
});
