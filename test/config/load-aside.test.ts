/** A configuration that is loaded in a thread is the one that is loaded without. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { configChanges } from '../../src/config/changes.ts';
import { fromClonable, toClonable } from '../../src/config/clonable.ts';
import { loadConfig } from '../../src/config/load.ts';
import { loadConfigAside } from '../../src/config/load-aside.ts';
import { Secret, secretsIn } from '../../src/config/secret.ts';
import { temporaryFolder } from '../support/temp.ts';
import { manySources } from './many-sources.ts';

async function fileOf(text: string): Promise<string> {
  const file = join(await temporaryFolder(), 'duckcoop.yaml');
  writeFileSync(file, text);
  return file;
}

test('it is the same, secrets, warnings and all, and finds nothing under a name that every object has', async () => {
  const file = await fileOf(
    stringify({ sources: manySources(80), telemetry: { otlp_endpoint: 'http://otlp.example' } }),
  );
  const overrides = { port: 1234 };
  const [one, other] = [loadConfig({ file, overrides }), await loadConfigAside({ file, overrides })];
  if (!one.ok || !other.ok) throw new Error('refused');
  expect(configChanges(one.config, other.config)).toEqual([]);
  expect(other.config.server.port).toBe(1234);
  expect(other.warnings).toEqual(one.warnings);
  expect(other.warnings).toHaveLength(1);
  const revealed = secretsIn(other.config).map((secret) => secret.reveal());
  expect(revealed).toEqual(secretsIn(one.config).map((secret) => secret.reveal()));
  expect(revealed).toContain('password-of-0');
  const { sources } = other.config;
  for (const names of [sources, other.config.pools, other.config.auth.principals, other.config.limits])
    expect(Object.getPrototypeOf(names)).toBeNull();
  expect(sources.constructor).toBeUndefined();
});

test('what is wrong is told as it is without a thread', async () => {
  const file = await fileOf('server: { port: x }\nsources: { a: { kind: oracle } }\n');
  expect(await loadConfigAside({ file })).toEqual(loadConfig({ file }));
  const nowhere = `${file}.not`;
  expect(await loadConfigAside({ file: nowhere })).toEqual(loadConfig({ file: nowhere }));
});

test('plain data comes back as it went, with each secret a secret', () => {
  const bare = Object.assign(Object.create(null), { keys: ['a'], secret: 'no secret' });
  const data = { bare, list: [1, null, undefined, true], nested: { secret: new Secret('hunter2') } };
  const back = fromClonable(structuredClone(toClonable(data))) as typeof data;
  expect(back).toEqual(data);
  expect(back.nested.secret).toBeInstanceOf(Secret);
  expect(back.nested.secret.reveal()).toBe('hunter2');
  expect(back.bare.secret).toBe('no secret');
  expect(Object.getPrototypeOf(back.bare)).toBeNull();
  expect(Object.getPrototypeOf(back.nested)).toBe(Object.prototype);
});

test.each([[new Date()], [() => 1], [1n]])(
  'what no configuration holds is an error and not lost: %s',
  (value) => {
    expect(() => toClonable({ value })).toThrow(TypeError);
  },
);
