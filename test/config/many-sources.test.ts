/** Ten thousand sources: nothing that is done with all of them takes longer than linear in their number. */
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { toAttachment } from '../../src/actors/attachment.ts';
import { configChanges } from '../../src/config/changes.ts';
import { SOURCE_KINDS } from '../../src/config/sources.ts';
import { manySources } from './many-sources.ts';
import { configOf, KEY_HASH, loadText, problemsOf } from './text.ts';

const COUNT = 10_000;
const SOURCES = manySources(COUNT);
/** Loaded once for all of these tests: the parser takes its seconds. */
const CONFIG = configOf(loadText(stringify({ sources: SOURCES })));
const text = (more: Readonly<Record<string, unknown>> = {}) => stringify({ sources: SOURCES, ...more });

test('ten thousand sources load, and a change of one is one change', () => {
  expect(Object.keys(CONFIG.sources)).toHaveLength(COUNT);
  const changed = { ...SOURCES, source_4200: { ...SOURCES.source_4200, password: 'another' } };
  const after = configOf(loadText(text({ sources: changed })));
  expect(configChanges(CONFIG, after)).toEqual([
    { path: 'sources.source_4200.password', effect: 'new_version' },
  ]);
});

test('every lake among ten thousand sources finds its bucket and its catalog', () => {
  const { sources } = CONFIG;
  const lakes = Object.entries(sources).filter(([, { kind }]) => kind === 'ducklake');
  expect(lakes).toHaveLength(COUNT / SOURCE_KINDS.length);
  for (const [alias, source] of lakes) {
    const first = Number(alias.slice('source_'.length)) - SOURCE_KINDS.indexOf('ducklake');
    const bucket = first + SOURCE_KINDS.indexOf('s3');
    expect(toAttachment(alias, source, sources)).toMatchObject({
      catalog: { kind: 'postgres', host: `db${first}.example` },
      bucket: { url: `s3://bucket-${bucket}/`, secret: `secret-of-${bucket}` },
    });
  }
});

test('a path in a bucket is read with the keys of the longest prefix', () => {
  const lake = (folder: string) => ({ kind: 'ducklake', catalog: './c.ducklake', data_path: folder });
  const bucket = (prefix: string) => ({
    kind: 's3',
    bucket: 'b',
    prefix,
    key_id: 'k',
    secret: `of ${prefix}`,
  });
  const { sources } = configOf(
    loadText(
      stringify({
        sources: {
          whole: bucket(''),
          part: bucket('a/b'),
          outer: bucket('a'),
          one: lake('s3://b/a/b/c'),
          two: lake('s3://b/a/bc'),
          three: lake('s3://b/c'),
        },
      }),
    ),
  );
  const secretOf = (alias: string) => toAttachment(alias, sources[alias] as never, sources);
  expect(secretOf('one')).toMatchObject({ bucket: { secret: 'of a/b' } });
  expect(secretOf('two')).toMatchObject({ bucket: { secret: 'of a' } });
  expect(secretOf('three')).toMatchObject({ bucket: { secret: 'of ' } });
});

test('a problem in each of three thousand sources is told of a thousand, and of how many there are more', () => {
  const wrong = Object.fromEntries(
    Object.keys(manySources(3_000)).map((alias) => [alias, { kind: 'sqlite', path: 1 }]),
  );
  const problems = problemsOf(loadText(stringify({ sources: wrong })));
  expect(problems).toHaveLength(1_001);
  expect(problems[0]).toMatch(/^sources\.source_0\.path \| 1 \| expected a text/);
  expect(problems.at(-1)).toBe(' | - | and 2000 problems more');
});

test('what does not fit is told with some of the names there are, and not with all of them', () => {
  const sources = manySources(1_000);
  const principals = { a: { key_hash: KEY_HASH, sources: [...Object.keys(sources), 'nope'] } };
  const [problem = '', ...more] = problemsOf(
    loadText(text({ sources, auth: { mode: 'api_keys', principals } })),
  );
  expect(more).toEqual([]);
  expect(problem).toMatch(
    /^auth\.principals\.a\.sources\[1000\] \| "nope" \| expected one of the sources: source_0, source_1, .* \.\.\. and 980 more$/,
  );
});
