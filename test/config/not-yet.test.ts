import { expect, test } from 'vitest';
import { NOT_YET, notYet } from '../../src/config/not-yet.ts';
import { configSchema } from '../../src/config/schema.ts';
import { loadText } from './text.ts';

function warned(text: string): string[] {
  const loaded = loadText(text);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.warnings.map(({ path }) => path);
}

test('nothing that the file does not set is warned of', () => {
  expect(
    warned('server: {port: 1}\npools: {a: {size: 1, recycle: {}}}\ntelemetry: {log_level: warn}'),
  ).toEqual([]);
});

test('each setting without effect is warned of in its line, though it equals the default', () => {
  expect(
    warned(`
quarantine: { crashes: 2 }
limits: { reader: { concurrent: 4, crash_budget: { crashes: 1 } }, writer: { queued: 1, per_minute: 1 } }
pools: { a: { reserve: 0, recycle: { max_queries: 5, max_age: 1h } }, exports: { size: 1 } }
exports: { retention: 24h }
telemetry: { otlp_endpoint: "http://127.0.0.1:4318" }
`),
  ).toEqual(['telemetry.otlp_endpoint']);
});

test('what is off is not warned of', () => {
  expect(warned('chaos: {enabled: false}\ntelemetry: {otlp_endpoint: null}\nauth: {mode: none}')).toEqual([]);
});

test('a warning shows the value and where it stands', () => {
  const loaded = loadText('telemetry:\n  otlp_endpoint: http://a\n');
  const warning = { path: 'telemetry.otlp_endpoint', value: '"http://a"', line: 2, column: 3 };
  expect(loaded).toMatchObject({ warnings: [warning] });
});

test('every entry of the table names something that the schema has', () => {
  const known = configSchema.parse({ sources: { x: { kind: 'sqlite', path: 'x' } } });
  const sample = {
    ...known,
    pools: { '*': known.pools.interactive },
    auth: { mode: 'api_keys', principals: {} },
    limits: { '*': known.limits.reader },
  };
  const filled = { ...sample, chaos: { enabled: true }, telemetry: { otlp_endpoint: 'x' } };
  expect(notYet(filled).map(({ entry }) => entry)).toEqual([...NOT_YET]);
});
