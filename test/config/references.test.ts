// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references look like templates, and are none
import { expect, test } from 'vitest';
import { configOf, FOLDER, loadText, problemsOf } from './text.ts';

function source(loaded: ReturnType<typeof loadText>) {
  const found = configOf(loaded).sources.x;
  if (found?.kind !== 'postgres') throw new Error('another kind');
  return found;
}

const postgres = (keys: string) => `sources: {x: {kind: postgres, host: h, user: u, database: d, ${keys}}}`;

test('a reference may be a whole value or a part of it', () => {
  const env = { A: 'one', B: 'two' };
  expect(source(loadText(postgres('password: "${env:A}"'), { env })).password?.reveal()).toBe('one');
  expect(source(loadText(postgres('password: "<${env:A}-${env:B}>"'), { env })).password?.reveal()).toBe(
    '<one-two>',
  );
});

test.each([
  ['s3cret\n', 's3cret'],
  ['s3cret\r\n', 's3cret'],
  ['s3cret\n\n', 's3cret\n'],
  [' s3 cret', ' s3 cret'],
  ['', ''],
])('a file reference of %j loses one line ending: %j', (content, expected) => {
  const files = { [`${FOLDER}/pw`]: content };
  expect(source(loadText(postgres('password: "${file:pw}"'), { files })).password?.reveal()).toBe(expected);
});

test('a file reference is relative to the folder of the configuration, or absolute', () => {
  const files = { [`${FOLDER}/secrets/pw`]: 'a', '/run/secrets/pw': 'b' };
  const text = postgres('password: "${file:./secrets/pw}${file:/run/secrets/pw}"');
  expect(source(loadText(text, { files })).password?.reveal()).toBe('ab');
});

test('what a reference gives is not searched for references again', () => {
  const env = { A: '${env:B}', B: 'no' };
  expect(source(loadText(postgres('password: "${env:A}"'), { env })).password?.reveal()).toBe('${env:B}');
});

test('a reference gives numbers and switches where these are wanted', () => {
  const env = { PORT: '05433', RO: 'false', SIZE: '1', MEMORY: '512MB', PW: '12345' };
  const text = `
server: { port: "\${env:PORT}", max_body: "\${env:SIZE}" }
pools: { interactive: { size: "\${env:SIZE}", memory_limit: "\${env:MEMORY}" } }
${postgres('port: "${env:PORT}", read_only: "${env:RO}", password: "${env:PW}"')}`;
  const config = configOf(loadText(text, { env }));
  expect(config.server).toMatchObject({ port: 5433, max_body: 1 });
  expect(config.pools.interactive).toMatchObject({ size: 1, memory_limit: 512e6 });
  const x = source(loadText(text, { env }));
  expect([x.port, x.read_only, x.password?.reveal()]).toEqual([5433, false, '12345']);
});

test.each([
  ['${env:NO}', 'expected the environment variable NO to be set'],
  ['${file:no}', 'expected a file that can be read (ENOENT)'],
])('%s that leads nowhere is a problem that shows the reference', (reference, message) => {
  expect(problemsOf(loadText(postgres(`password: "${reference}"`)))).toEqual([
    `sources.x.password | ${reference} | ${message}`,
  ]);
});

test.each(['${env:}', '${env:A B}', '${ENV:A}', '${A}', '${env:A', '$${', '${file:}', 'x${'])(
  '%s is no reference and not taken as it is',
  (text) => {
    expect(problemsOf(loadText(postgres(`password: '${text}'`), { env: { A: 'a' } }))).toEqual([
      'sources.x.password | [secret] | expected ${env:NAME} or ${file:path}',
    ]);
  },
);

test('a dollar sign by itself is a dollar sign', () => {
  expect(source(loadText(postgres("password: '$a$1$$&'"))).password?.reveal()).toBe('$a$1$$&');
});

test('a reference that fails is not reported again as a missing value, and hides no other problem', () => {
  const text =
    'sources: {x: {kind: postgres, host: "${env:NO}", user: u, database: d, port: 0}, y: {kind: sqlite}}';
  expect(
    problemsOf(loadText(text))
      .map((problem) => problem.split(' ')[0])
      .sort(),
  ).toEqual(['sources.x.host', 'sources.x.port', 'sources.y.path']);
});
