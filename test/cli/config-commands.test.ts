import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { duckcoop, ROOT } from '../support/cli.ts';
import { temporaryFolder } from '../support/temp.ts';

async function configuration(text: string): Promise<string> {
  const file = join(await temporaryFolder(), 'duckcoop.yaml');
  await writeFile(file, text);
  return file;
}

const WRONG = 'server: { port: 84800 }\npools:\n  interactive: { sise: 2 }\n';

describe('duckcoop check', () => {
  it('ends with 0 for the configuration of the quickstart, with nothing to warn of', async () => {
    const { code, stderr } = await duckcoop(['check', join(ROOT, 'examples/quickstart.yaml')]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('says every problem at once, each with its path, and ends with 1', async () => {
    const file = await configuration(WRONG);
    const { code, stdout, stderr } = await duckcoop(['check', file]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('error: 2 problems in the configuration\n');
    expect(stderr).toContain(`${file}:1:11: server.port is 84800: expected `);
    expect(stderr).toContain('pools.interactive.sise');
  });

  it('ends with 1 for a file that is not there', async () => {
    const { code, stderr } = await duckcoop(['check', '/nowhere/duckcoop.yaml']);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('ENOENT') });
  });

  it('ends with 2 without a file', async () => {
    expect((await duckcoop(['check'])).code).toBe(2);
  });
});

describe('duckcoop serve', () => {
  it('starts nothing on a wrong configuration, says all of it, and ends with 2', async () => {
    const { code, stdout, stderr } = await duckcoop(['serve', '--config', await configuration(WRONG)]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('error: wrong configuration\n');
    expect(stderr).toContain('server.port');
    expect(stderr).toContain('pools.interactive.sise');
  });

  it('ends with 2 when the address is not loopback, there is no authentication, and nobody insists', async () => {
    const { code, stderr } = await duckcoop(['serve', '--host', '0.0.0.0', '--port', '0']);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('--insecure') });
  });

  it.each([['--port', '-1'], ['--port', 'http'], ['--port', '8480x'], ['--verbose']])(
    'ends with 2 for %s %s',
    async (...args) => {
      expect((await duckcoop(['serve', ...args])).code).toBe(2);
    },
  );
});

describe('duckcoop', () => {
  it('says its commands and ends with 0 when asked for help', async () => {
    const { code, stdout } = await duckcoop(['--help']);
    expect(code).toBe(0);
    for (const command of ['serve', 'check', 'query', 'keys', 'extensions'])
      expect(stdout).toContain(`  ${command} `);
  });

  it('ends with 2 for a command it does not know, and for none', async () => {
    expect(await duckcoop(['qeury'])).toMatchObject({ code: 2, stderr: expect.stringContaining('qeury') });
    expect((await duckcoop([])).code).toBe(2);
  });
});
