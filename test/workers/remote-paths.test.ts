import { posix } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isRemotePath, remotePathProblem } from '../../src/workers/duckdb/remote-paths.ts';

const S3 = 's3://lake/in/';
const WEB = 'https://host:8443/open/';
const PREFIXES = [S3, WEB];
/** What an attacker would put together a path of. */
const piece = fc.oneof(
  fc.constantFrom(
    '..',
    '.',
    '/',
    '//',
    '%2e',
    '%2E',
    '%252e',
    '%2f',
    '%5c',
    '\\',
    '?',
    '#',
    ';x',
    '*',
    '**',
    '[.]',
  ),
  fc.constantFrom(
    '%',
    '%c0%ae',
    '\0',
    '\n',
    '\t',
    ' ',
    '@evil',
    ':80',
    'a',
    'year=2024',
    '%20',
    'ä',
    'x.parquet',
  ),
  fc.constantFrom('s3_endpoint=evil', '?s3_endpoint=evil', 's3://', '../', '/..', '..%2f'),
);
const below = fc.array(piece, { maxLength: 10 }).map((pieces) => pieces.join(''));
const runs = Number(process.env.DUCKCOOP_FUZZ_RUNS ?? 3_000);

it('whatever is let through stays below its source, however often it is decoded and however it is read', () => {
  let passed = 0;
  fc.assert(
    fc.property(fc.constantFrom(...PREFIXES), below, (prefix, rest) => {
      if (remotePathProblem(prefix + rest, PREFIXES) !== undefined) return;
      passed += 1;
      let text = rest;
      for (let times = 0; times < 5; times += 1) {
        const url = new URL(`${prefix}${text}`);
        expect(url.href.startsWith(prefix)).toBe(true);
        expect([url.search, url.hash]).toEqual(['', '']);
        expect(posix.join('/open', text).startsWith('/open')).toBe(true);
        expect(posix.normalize(`/${text.replaceAll('\\', '/')}`)).toBe(
          posix.normalize(
            `/${text
              .replaceAll('\\', '/')
              .split('/')
              .filter((part) => part !== '..')
              .join('/')}`,
          ),
        );
        try {
          text = decodeURIComponent(text);
        } catch {
          return;
        }
      }
    }),
    { numRuns: runs },
  );
  expect(passed).toBeGreaterThan(runs / 100);
});

it('lets ordinary paths and globs through', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...PREFIXES),
      fc.array(fc.stringMatching(/^[A-Za-z0-9=_-][A-Za-z0-9=._ *-]{0,9}$/), { minLength: 1, maxLength: 4 }),
      (prefix, parts) => {
        expect(remotePathProblem(prefix + parts.join('/'), PREFIXES)).toBe(undefined);
      },
    ),
    { numRuns: 300 },
  );
});

it.each([
  's3://lake/in/../out.csv',
  's3://lake/in/../../lake2/x',
  's3://lake/in/x?s3_endpoint=other',
  's3://lake/inside/x',
  's3://lake/in',
  's3://other/in/x',
  'S3://lake/in/x',
  's3a://lake/in/x',
  'gcs://lake/in/x',
  'https://host:8443/open/../closed',
  'https://host:8443/open/%2e%2e/closed',
  'https://host:8443/open/%252e%252e/closed',
  'https://host:8443/open/..;a/closed',
  'https://host:8443/open/a%2fb',
  'https://host:8443/open/%c0%ae%c0%ae/closed',
  'https://host:8443@evil/open/x',
  'https://host:8443/openly',
  'http://host:8443/open/x',
  'hf://datasets/x/y.parquet',
])('%s is not read', (path) => {
  expect(isRemotePath(path)).toBe(true);
  expect(remotePathProblem(path, PREFIXES)).toMatch(/^(it|a) /);
});

it.each(['s3://lake/in/a%2Fb=c/x', 's3://lake/in/100%.csv', 's3://lake/in/**/*.parquet', `${WEB}a%20b.csv`])(
  '%s is read',
  (path) => expect(remotePathProblem(path, PREFIXES)).toBe(undefined),
);

it('without sources only the form counts', () => {
  expect(remotePathProblem('s3://any/x', undefined)).toBe(undefined);
  expect(remotePathProblem('s3://any/../x', undefined)).toMatch(/is \. or/);
  expect(remotePathProblem('s3://any', undefined)).toMatch(/below none/);
});
