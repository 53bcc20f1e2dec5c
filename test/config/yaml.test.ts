import { expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { configOf, loadText, pathsOf, problemsOf } from './text.ts';

test.each([
  ['a text that is not closed', 'server: {host: "x\n', 2, 1],
  ['a bracket that is not closed', 'sources: [a\npools: {}\n', 2, 1],
  ['a tab', 'server:\n\thost: x\n', 2, 1],
  ['a reserved character', 'a: @b\n', 1, 4],
  ['two colons', 'a: b: c\n', 1, 4],
  ['a second document', 'a: 1\n---\nb: 1\n', 2, 1],
])('%s is a syntax error with its line and column', (_, text, line, column) => {
  const loaded = loadText(text);
  if (loaded.ok) throw new Error('loaded');
  expect(loaded.problems[0]).toMatchObject({
    path: '',
    line,
    column,
    message: expect.stringMatching(/^not YAML: /),
  });
});

test('a key given twice is refused with both lines, whatever stands under it, and the rest is looked at too', () => {
  const loaded = loadText('pools:\n  a: {size: 1}\n  a: {size: 2}\nserver: {port: -1}\n');
  if (loaded.ok) throw new Error('loaded');
  expect(loaded.problems).toMatchObject([
    { path: 'pools.a', line: 3, column: 3, message: 'expected each key once; it stands in line 2 already' },
    { path: 'server.port', line: 4 },
  ]);
});

test('a value may be anchored and used again', () => {
  const text = 'budget: {memory: 99GB}\npools:\n  a: &p {size: 3, queue: {max: 7}}\n  b: *p\n';
  const { pools } = configOf(loadText(text));
  expect([pools.b?.size, pools.b?.queue.max]).toEqual([3, 7]);
});

test.each([
  ['an anchor that is nowhere', 'data_dir: *hunter2\n', 'data_dir'],
  ['an anchor inside itself', 'pools: &p {a: *p}\n', 'pools.a'],
  ['a tag', 'data_dir: !hunter2 x\n', ''],
  ['a key that is a list', '? [hunter2]\n: 1\n', ''],
  ['a key that is nothing', '~: 1\n', ''],
  ['a prototype', '__proto__: {server: {port: 1}}\n', ''],
])('%s is refused with its line and without its text', (_, text, path) => {
  const loaded = loadText(text);
  if (loaded.ok) throw new Error('loaded');
  expect(loaded.problems).toContainEqual(expect.objectContaining({ path, line: 1 }));
  expect(JSON.stringify(loaded.problems)).not.toContain('hunter2');
});

test('anchors cannot make a small text a large one', () => {
  const levels = Array.from(
    { length: 12 },
    (_, n) => `k${n + 1}: &a${n + 1} [${Array(9).fill(`*a${n}`).join(', ')}]`,
  );
  const { problems } = parseYaml(['k0: &a0 x', ...levels].join('\n'));
  expect(problems).toHaveLength(1);
  expect(problems[0]?.message).toMatch(/^expected 500000 values at most/);
});

test('an alias is the last anchor of its name before it, wherever what it stands in is repeated', () => {
  const { data, problems } = parseYaml(
    'a: &x 1\nb: &list [*x, &y 2]\nc: &x 3\nd: &y 4\ne: *list\nf: [*x, *y]\n',
  );
  expect(problems).toEqual([]);
  expect(data).toMatchObject({ b: [1, 2], e: [1, 2], f: [3, 4] });
});

test('ten thousand aliases take no longer than ten thousand values', () => {
  const lines = Array.from({ length: 10_000 }, (_, n) => `s${n}: {view: *views, other: ${n}}`);
  const { data, problems } = parseYaml(`views: &views {events: "*.parquet"}\n${lines.join('\n')}`);
  expect(problems).toEqual([]);
  expect(data).toMatchObject({ s9999: { view: { events: '*.parquet' }, other: 9_999 } });
});

const levels = (count: number, open: string, close: string) =>
  `a: ${open.repeat(count)}x${close.repeat(count)}`;

// The parser would overflow its stack, which can end the process and not only the load.
test.each([
  ['lists', levels(100_000, '[', ']')],
  ['lists that are not closed', levels(100_000, '[', '')],
  ['mappings', levels(100_000, '{a: ', '}')],
  ['lists on one line', `a:\n  ${'- '.repeat(100_000)}x`],
  ['keys', `a:\n  ${'? '.repeat(100_000)}x`],
  ['indentation', Array.from({ length: 2_000 }, (_, n) => `${' '.repeat(n)}a:`).join('\n')],
])('%s nested by the thousand are refused with their place', (_, text) => {
  const { problems, wellFormed } = parseYaml(text);
  expect(wellFormed).toBe(false);
  expect(problems).toEqual([
    {
      path: '',
      message: 'expected 100 levels at most',
      line: expect.any(Number),
      column: expect.any(Number),
    },
  ]);
});

test('anchors cannot nest a flat text either', () => {
  const chain = Array.from({ length: 50_000 }, (_, n) => `k${n + 1}: &a${n + 1} [*a${n}]`);
  const { problems } = parseYaml(['k0: &a0 x', ...chain].join('\n'));
  expect(problems).toMatchObject([{ message: 'expected 100 levels at most, anchors written out' }]);
});

test('a hundred levels are no problem, and neither is an anchor inside of many others', () => {
  expect(parseYaml(levels(98, '[', ']')).problems).toEqual([]);
  const chain = Array.from({ length: 90 }, (_, n) => `k${n + 1}: &a${n + 1} [*a${n}]`);
  expect(parseYaml(['k0: &a0 x', ...chain].join('\n')).problems).toEqual([]);
});

test('a file of more than ten million characters is refused unread', () => {
  const { problems, wellFormed } = parseYaml(`# ${'x'.repeat(10_000_000)}\n`);
  expect({ problems, wellFormed }).toEqual({
    problems: [{ path: '', message: 'expected 10000000 characters at most' }],
    wellFormed: false,
  });
});

test('a file that cannot be read is a problem, not an exception', () => {
  expect(problemsOf(loadConfig({ file: '/nowhere/duckcoop.yaml', env: {} }))).toEqual([
    ' | - | expected a file that can be read (ENOENT)',
  ]);
  expect(problemsOf(loadConfig({ file: '/', env: {} }))).toEqual([
    ' | - | expected a file that can be read (EISDIR)',
  ]);
});

test('what YAML cannot tell is one problem, not also a value of a wrong type', () => {
  expect(pathsOf(loadText('data_dir: *nowhere'))).toEqual(['data_dir']);
});

test('keys that look like numbers are names', () => {
  expect(pathsOf(loadText('pools: {2024: {size: x}}'))).toEqual(['pools.2024.size']);
});
