import { createHash } from 'node:crypto';
import { openSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { duckcoop } from '../support/cli.ts';

/** What a configuration of these principals' snippet alone, and of these sources and pools, holds. */
function principalIn(snippet: string, more = '') {
  const loaded = loadConfig({ file: '/duckcoop.yaml', readFile: () => `${snippet}\n${more}` });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  expect(loaded.warnings).toEqual([]);
  expect(loaded.config.auth.mode).toBe('api_keys');
  return loaded.config.auth.principals;
}

describe('duckcoop keys new', () => {
  it('prints a key, and beside it the configuration that knows it by its hash', async () => {
    const { code, stdout, stderr } = await duckcoop(['keys', 'new', 'analyst']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^dck_[A-Za-z0-9_-]{43}\n$/);
    expect(stderr).not.toContain(stdout.trim());
    const { analyst } = principalIn(stderr);
    const sha256 = createHash('sha256').update(stdout.trim()).digest('hex');
    expect(analyst?.key_hash.reveal()).toBe(`sha256:${sha256}`);
    expect(analyst).toMatchObject({ role: 'reader' });
    expect([analyst?.sources, analyst?.pools]).toEqual([undefined, undefined]);
  });

  it('never prints the same key twice', async () => {
    const made = await Promise.all([1, 2].map(() => duckcoop(['keys', 'new', 'analyst'])));
    expect(new Set(made.map(({ stdout }) => stdout)).size).toBe(2);
  });

  it('puts role, sources and pools down so that YAML reads them as they were written', async () => {
    const args = ['--role', 'writer', '--sources', 'null,pg1', '--pools', '007,true,-'];
    args.push('--inline-sources', 'postgres,files');
    const { code, stderr } = await duckcoop(['keys', 'new', '1e3', ...args]);
    expect(code).toBe(0);
    const sources = 'sources: { "null": { kind: sqlite, path: a }, pg1: { kind: sqlite, path: b } }';
    const pools = 'pools: { "007": {}, "true": {}, "-": {} }\nbudget: { memory: 64GB }';
    expect(principalIn(stderr, `${sources}\n${pools}`)['1e3']).toMatchObject({
      role: 'writer',
      sources: ['null', 'pg1'],
      pools: ['007', 'true', '-'],
      inline_sources: ['postgres', 'files'],
    });
  });

  it.each([
    ['no name', []],
    ['a name with a blank', ['a b']],
    ['the name of a role', ['operator']],
    ['the name of those without a key', ['anonymous']],
    ['an unknown role', ['a', '--role', 'admin']],
    ['an alias that is none', ['a', '--sources', 'pg1,']],
    ['a kind of sources that is none', ['a', '--inline-sources', 'oracle']],
    ['a pool that is none', ['a', '--pools', 'a b']],
  ])('makes no key for %s, and ends with 2', async (_what, args) => {
    const { code, stdout } = await duckcoop(['keys', 'new', ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it('says nothing of a key that could not be written, and ends with 1', async () => {
    const { code, stderr } = await duckcoop(['keys', 'new', 'analyst'], {
      stdout: openSync('/dev/full', 'w'),
    });
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^error: cannot write the key: .*\n$/),
    });
  });
});
