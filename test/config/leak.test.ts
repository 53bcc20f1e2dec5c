// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references look like templates, and are none
import { inspect } from 'node:util';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { publicConfig } from '../../src/config/describe.ts';
import { formatProblems } from '../../src/config/problems.ts';
import { secretsIn } from '../../src/config/secret.ts';
import { configOf, FOLDER, KEY_HASH, loadText } from './text.ts';

const SECRET = 'hunter2-S3cr3t';

/** Everything that a load gives anybody to print. */
function printed(loaded: ReturnType<typeof loadText>): string {
  const notes = loaded.ok ? loaded.warnings : loaded.problems;
  return [inspect(loaded, { depth: 20 }), JSON.stringify(loaded), formatProblems(notes, 'f')].join('\n');
}

/** Every key of the configuration as a template, with a hole where a value stands. */
const PLACES = [
  'server: {host: %}',
  'server: {port: %}',
  'server: {drain_timeout: %}',
  'server: {max_body: %}',
  'server: %',
  'data_dir: [%]',
  'extensions: {load: [%]}',
  'extensions: {load: [x, %]}',
  'pools: {interactive: {size: %}}',
  'pools: {interactive: {memory_limit: %}}',
  'pools: {interactive: {memory_hard_limit: %}}',
  'pools: {interactive: {restart: {shutdown: %}}}',
  'pools: {interactive: {restart: {type: %, backoff: {initial: %, max: %}}}}',
  'pools: %',
  'sources: %',
  'sources: {a: %}',
  'sources: {a: {kind: %}}',
  'sources: {a: {kind: postgres, host: [%], user: %, password: [%], database: %, pasword: %}}',
  'sources: {a: {kind: postgres, host: h, user: %, password: %, database: %, port: %, ssl_mode: %}}',
  'sources: {a: {kind: postgres, host: h, user: u, database: d, password: {x: %}}}',
  'sources: {a: {kind: s3, bucket: %, endpoint: %, key_id: %, session_token: %}}',
  'sources: {a: {kind: s3, bucket: b, secret: %, views: {v: %}}}',
  'sources: {a: {kind: http, url: %, bearer_token: %}}',
  'sources: {a: {kind: ducklake, catalog: %, data_path: %}}',
  'auth: {mode: %}',
  'auth: {principals: {a: {key_hash: %, role: %}}}',
  'auth: {principals: {a: {sources: [%], pools: [%]}}}',
  'limits: {reader: {concurrent: %}}',
  'telemetry: {otlp_endpoint: %, log_level: %}',
  'budget: {memory: %}',
  'unknown: %',
];

const values = fc.oneof(
  fc.constantFrom(
    SECRET,
    `${SECRET}\n`,
    `https://u:${SECRET}@h/x`,
    `postgres:password=${SECRET}`,
    `${SECRET} "'\\`,
  ),
  fc.string().map((text) => text + SECRET),
);

test('a resolved value is in no problem and no warning, wherever its reference stands', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...PLACES),
      values,
      fc.constantFrom('"${env:S}"', '"${file:s}"', '"x${env:S}y"'),
      (place, value, reference) => {
        const loaded = loadText(place.replaceAll('%', reference), {
          env: { S: value },
          files: { [`${FOLDER}/s`]: value },
        });
        const notes = loaded.ok ? loaded.warnings : loaded.problems;
        expect(JSON.stringify(notes) + formatProblems(notes)).not.toContain(SECRET);
      },
    ),
    { numRuns: 400 },
  );
});

test('a resolved number is in no message either', () => {
  for (const [place, number] of [
    ['budget: {memory: %}', '1234567B'],
    ['pools: {interactive: {size: 1, reserve: 0, memory_hard_limit: %}}', '987654321987B'],
    ['pools: {interactive: {memory_limit: 1TB, memory_hard_limit: %}}', '1234567B'],
    ['pools: {interactive: {size: %}}', '7777777'],
    ['server: {port: %}', '7777777'],
  ] as const) {
    const loaded = loadText(place.replace('%', '"${env:S}"'), { env: { S: number } });
    expect(loaded.ok).toBe(false);
    expect(printed(loaded)).not.toContain(number.replace('B', ''));
  }
});

test.each([
  ['an unknown key', `sources: {a: {kind: mysql, host: h, user: u, pasword: ${SECRET}}}`],
  ['a list for a password', `sources: {a: {kind: mysql, host: h, user: u, password: [${SECRET}]}}`],
  ['a key for its hash', `auth: {principals: {a: {key_hash: ${SECRET}}}}`],
  ['a URL with a password', `sources: {a: {kind: http, url: "http://u:${SECRET}@h/"}}`],
  ['a URL for a source', `sources: {a: "postgres://u:${SECRET}@h/d"}`],
  [
    'a connection string',
    `sources: {a: {kind: ducklake, catalog: "postgres:password=${SECRET}", data_path: d}}`,
  ],
  ['a connection string for a host', `sources: {a: {kind: mysql, host: "h password=${SECRET}", user: u}}`],
  [
    'a broken reference with text around',
    'sources: {a: {kind: mysql, host: h, user: u, password: "hunter2-S3cr3t${env:X}"}}',
  ],
  ['YAML that makes no sense of it', `sources: {a: {password: "x" ${SECRET}}}`],
  ['YAML that takes it for a tag', `sources: {a: {password: !${SECRET}}}`],
  ['YAML that takes it for an anchor', `sources: {a: {password: *${SECRET}}}`],
  ['YAML with an escape in it', `sources: {a: {password: "\\${SECRET}"}}`],
  ['YAML with a reserved character', `password: @${SECRET}`],
])('a literal secret does not show in a problem: %s', (_, text) => {
  const loaded = loadText(text);
  expect(loaded.ok).toBe(false);
  expect(printed(loaded)).not.toContain(SECRET);
});

const ALL = `
sources:
  pg: { kind: postgres, host: h, user: u, database: d, password: "\${env:S}" }
  s3: { kind: s3, bucket: b, key_id: "\${env:S}", secret: "\${env:S}", session_token: "\${env:S}" }
  web: { kind: http, url: "http://h/x", bearer_token: "\${env:S}" }
auth: { principals: { a: { key_hash: "${KEY_HASH}" } } }
`;

test('a loaded configuration prints without its secrets, and its public form has the same shape', () => {
  const loaded = loadText(ALL, { env: { S: SECRET } });
  expect(printed(loaded)).not.toContain(SECRET);
  const shown = publicConfig(configOf(loaded));
  expect(JSON.stringify(shown)).not.toMatch(/hunter2|abababab/);
  expect(shown.sources.pg).toMatchObject({ kind: 'postgres', user: 'u', password: '[secret]' });
  expect(shown.sources.s3).toMatchObject({
    key_id: '[secret]',
    secret: '[secret]',
    session_token: '[secret]',
  });
  expect(shown.auth.principals.a).toEqual({ key_hash: '[secret]', role: 'reader', inline_sources: [] });
  expect(shown.pools.interactive?.restart.backoff.max).toBe(30_000);
});

test('every secret of a configuration is handed out for scrubbing', () => {
  const loaded = loadText(ALL, { env: { S: SECRET } });
  const revealed = new Set(secretsIn(configOf(loaded)).map((secret) => secret.reveal()));
  expect(revealed).toEqual(new Set([SECRET, KEY_HASH]));
});
