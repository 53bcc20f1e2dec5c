/** The tables of docs/configuration.md against the schema: every key, and every default. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { NOT_YET } from '../../src/config/not-yet.ts';
import { parseDuration, parseSize } from '../../src/config/units.ts';
import { ROOT } from '../support/cli.ts';

const MARKDOWN = readFileSync(join(ROOT, 'docs/configuration.md'), 'utf8');

interface Row {
  readonly key: string;
  readonly text: string;
}

/** The rows of all tables below a line, up to the next heading or kind. */
function rows(from: string): Row[] {
  const start = MARKDOWN.indexOf(from);
  if (start === -1) throw new Error(`no ${from}`);
  const rest = MARKDOWN.slice(start + from.length);
  const end = rest.search(/^(## |`kind: )/m);
  return [...rest.slice(0, end).matchAll(/^\| `([\w.]+)` \| (.+?) \|/gm)].map(([, key = '', text = '']) => ({
    key,
    text,
  }));
}

/** The keys that the schema knows where `prefix` stands, by what it says of one that it does not know. */
function keysAt(yaml: string): string[] {
  const loaded = loadConfig({ file: '/duckcoop.yaml', readFile: () => yaml });
  const problem = loaded.ok ? undefined : loaded.problems.find(({ path }) => path.endsWith('unknown'));
  return (/expected one of (.*)$/.exec(problem?.message ?? '')?.[1] ?? '').split(', ');
}

function leaves(value: unknown, path: string): [string, unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [[path, value]];
  return Object.entries(value).flatMap(([key, item]) => leaves(item, path === '' ? key : `${path}.${key}`));
}

const DEFAULTS = (() => {
  const loaded = loadConfig();
  if (!loaded.ok) throw new Error('no defaults');
  const { config } = loaded;
  const { interactive } = config.pools;
  return new Map([
    ...leaves({ ...config, pools: {}, limits: {} }, ''),
    ...leaves(interactive, 'pools.NAME').map(([path, value]) => [path, value] as const),
    ...leaves(config.limits.reader, 'limits.NAME').map(([path, value]) => [path, value] as const),
  ]);
})();

/** The tables of keys that stand for themselves; sources have their own, by kind. */
const DESCRIBED = ['## Server', '## Pools', '## Crashes', '## Quotas', '## Sessions', '## Exports'].flatMap(
  rows,
);

const NOT_IN_EFFECT = MARKDOWN.slice(MARKDOWN.indexOf('## Not in effect yet'));
const isNotYet = (path: string) =>
  NOT_YET.some(({ path: steps }) => `${path}.`.startsWith(`${steps.join('.').replace('*', 'NAME')}.`));

it('has every key that has an effect, and no other', () => {
  const described = DESCRIBED.map(({ key }) => key);
  const known = [...DEFAULTS.keys()].filter(
    (path) => !isNotYet(path) && !/^(sources|pools|auth\.principals)(\.|$)(?!NAME)/.test(path),
  );
  expect(described.toSorted()).toEqual(known.toSorted());
});

it('has the default of each', () => {
  for (const { key, text } of DESCRIBED) {
    const written = text.replaceAll('`', '');
    const value = DEFAULTS.get(key);
    if (Array.isArray(value)) expect(written, key).toBe(`[${value.join(', ')}]`);
    else if (written.startsWith('./')) expect(value, key).toBe(join(process.cwd(), written));
    else if (typeof value === 'number') {
      expect(
        [parseDuration(written, Number.MAX_SAFE_INTEGER), parseSize(written), Number(written)],
        key,
      ).toContain(value);
    } else expect(String(value), key).toBe(written);
  }
});

it.each([
  { heading: '`kind: postgres` and', kind: 'postgres', given: 'host: a, user: a, database: a' },
  { heading: '`kind: postgres` and', kind: 'mysql', given: 'host: a, user: a' },
  { heading: '`kind: sqlite`', kind: 'sqlite', given: 'path: a' },
  { heading: '`kind: files`', kind: 'files', given: 'path: a' },
])('has the keys and the defaults of a $kind source', ({ heading, kind, given }) => {
  const described = rows(heading);
  const known = keysAt(`sources: { s: { kind: ${kind}, ${given}, unknown: 1 } }`).filter(
    (key) => key !== 'kind',
  );
  expect(described.map(({ key }) => key).toSorted()).toEqual(known.toSorted());
  const loaded = loadConfig({
    file: '/duckcoop.yaml',
    readFile: () => `sources: { s: { kind: ${kind}, ${given} } }`,
  });
  const source = loaded.ok ? (loaded.config.sources.s as unknown as Record<string, unknown>) : {};
  for (const { key, text } of described) {
    const options = text.replaceAll('`', '').split(' or ');
    const written = options[kind === 'mysql' ? options.length - 1 : 0] ?? '';
    const value = source[key];
    if (written === 'required')
      expect(given, key).toContain(key === 'database' && kind === 'mysql' ? '' : `${key}: `);
    else if (written === 'none') expect(value, key).toBeUndefined();
    else if (written === '{}') expect(value, key).toEqual({});
    else expect([String(value), String(value)], key).toContain(String(parseDuration(written) ?? written));
  }
});

it('has the keys and the defaults of a principal', () => {
  const described = rows('## Principals');
  const principal = (more: string) =>
    `auth: { principals: { p: { key_hash: "sha256:${'0'.repeat(64)}"${more} } } }`;
  expect(described.map(({ key }) => key)).toEqual(keysAt(principal(', unknown: 1')));
  const loaded = loadConfig({ file: '/duckcoop.yaml', readFile: () => principal('') });
  const given = loaded.ok ? loaded.config.auth.principals.p : undefined;
  const defaults = {
    key_hash: 'required',
    role: given?.role,
    sources: 'all',
    pools: 'all',
    inline_sources: '[]',
  };
  expect(Object.fromEntries(described.map(({ key, text }) => [key, text.replaceAll('`', '')]))).toEqual(
    defaults,
  );
  expect([given?.sources, given?.pools]).toEqual([undefined, undefined]);
});

it('names everything that is not in effect yet', () => {
  for (const { path, values } of NOT_YET) {
    if (path[0] === 'sources')
      for (const kind of values ?? []) expect(NOT_IN_EFFECT).toContain(`\`${String(kind)}\``);
    else expect(NOT_IN_EFFECT).toContain(path.slice(0, 3).join('.').replace('*', 'NAME'));
  }
});
