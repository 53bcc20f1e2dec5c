import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Secret } from '../../src/config/secret.ts';
import { Redactor } from '../../src/crashes/redact.ts';
import { cpuTime } from './cpu-time.ts';

const redactor = (...secrets: string[]) => new Redactor(secrets.map((secret) => new Secret(secret)));

describe('a secret of the configuration', () => {
  it('is in no redacted text, however it is written there', () => {
    // Neither of the letters that the marks are made of, nor of the same characters throughout.
    const secret = fc.string({
      unit: fc.constantFrom(...'XYZ0189\'"\\%$.*+?()[]{}|^-/ü🦆&'),
      minLength: 3,
      maxLength: 24,
    });
    fc.assert(
      fc.property(secret, fc.string(), fc.string(), (value, before, after) => {
        const { redact } = bound(redactor(value));
        const forms = [value, value.replaceAll("'", "''"), JSON.stringify(value), encodeURIComponent(value)];
        for (const form of forms) expect(redact(`${before} ${form} ${after}`)).not.toContain(form);
      }),
    );
  });

  it('that holds another one goes as a whole', () => {
    expect(redactor('hunter', 'hunter2').redact('it is hunter2, or hunter')).toBe(
      'it is [secret], or [secret]',
    );
  });

  it('that is empty hides nothing', () => {
    expect(redactor('').redact('text')).toBe('text');
  });

  it('of several lines is found line by line', () => {
    const key = '-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END KEY-----';
    expect(redactor(key).redact('at MIIEvQIBADANBgkqhkiG9w0B!')).toBe('at [secret]!');
  });

  it('of a configuration that was replaced is still hidden', () => {
    const both = redactor('old-secret');
    both.learn([new Secret('new-secret')]);
    expect(both.redact('old-secret new-secret')).toBe('[secret] [secret]');
  });

  it('is hidden in an excerpt too, wherever the cut goes through it', () => {
    const secret = 'pq-0123456789-XY';
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 80 }), (before, limit) => {
        const shown = redactor(secret).excerpt(`${'_'.repeat(before)}${secret}${'_'.repeat(40)}`, limit);
        expect(shown).not.toMatch(/[pq0-9XY]/);
      }),
    );
  });
});

describe('what stands where a credential stands', () => {
  it.each([
    ['postgres://app:hunter2@db:5432/x', 'postgres://[secret]@db:5432/x'],
    ['s3://KEY:a/b@c@bucket/x', 's3://[secret]@bucket/x'],
    ['host=db password=hunter2 dbname=x', 'host=db password=[secret] dbname=x'],
    ["password='it''s hunter2' x", 'password=[secret] x'],
    ['PGPASSWORD=hunter2; x', 'PGPASSWORD=[secret]; x'],
    ['{"password":"hunter2\\"x","port":1}', '{"password":[secret],"port":1}'],
    [
      "CREATE SECRET (TYPE s3, KEY_ID 'AKIA', SECRET 'hunter2')",
      'CREATE SECRET (TYPE s3, KEY_ID [secret], SECRET [secret])',
    ],
    ['Authorization: Bearer dck_hunter2', 'Authorization: Bearer [secret]'],
    ['?X-Amz-Security-Token=hunter2&x=1', '?X-Amz-Security-Token=[secret]&x=1'],
    ["aws_secret_access_key => 'hunter2'", 'aws_secret_access_key => [secret]'],
    ["password='never closed hunter2", 'password=[secret]'],
  ])('%j', (text, expected) => {
    expect(redactor().redact(text)).toBe(expected);
  });

  it.each([
    'FATAL: password authentication failed for user "app"',
    'terminate called after throwing an instance of std::bad_alloc',
    'https://duckdb.org/docs and s3://bucket/path',
    'select a, b from pg1.public.users where id = ?',
  ])('and what does not stays: %j', (text) => {
    expect(redactor().redact(text)).toBe(text);
  });

  it('is hidden in an excerpt that ends inside of it', () => {
    expect(redactor().excerpt('at postgres://app:hunter2@db', 24)).toBe('at postgres://[secret]…');
    expect(redactor().excerpt('at postgres://app:hun@ter2@db', 24)).toBe('at postgres://[secret]…');
    expect(redactor().excerpt('at s3://a:b@c d, and more', 15)).toBe('at s3://[secret]@c d…');
    expect(redactor().excerpt("at password='hunter2'", 17)).toBe('at password=[secret]…');
  });
});

it.each([
  '://',
  'password=',
  "password='",
  'a'.repeat(100),
  '://a',
  "secret ' ",
  'Bearer ',
  'token"',
  '_id = ',
])('takes no long time for a text of nothing but %j', (part) => {
  const text = part.repeat(200_000 / part.length);
  expect(cpuTime(() => redactor('a secret', 'another').redact(text))).toBeLessThan(1_000);
});

function bound(one: Redactor): { redact: (text: string) => string } {
  return { redact: (text) => one.redact(text) };
}
