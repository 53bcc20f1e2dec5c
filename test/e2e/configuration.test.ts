/** A configuration that is wrong, and an address that is taken: said in full, and nothing is started. */
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { duckcoop } from '../support/cli.ts';
import { temporaryFolder } from '../support/temp.ts';
import { eventually } from './poll.ts';
import { processesIn } from './processes.ts';
import { Served, serve, writeConfiguration } from './server.ts';

const WRONG = `data_dir: ./data
server: { port: 84800, hots: 127.0.0.1, drain_timeout: 10 }
pools:
  interactive:
    size: 0
    memory_limit: 4GB
    memory_hard_limit: 2GB
    restart: { strategy: one_for_some, backoff: { jitter: 2 } }
sources:
  main: { kind: files, path: ./data }
  pg: { kind: postgres, host: localhost, user: app, password: "hunter2-hunter2", databse: test }
  my: { kind: mysql, host: "db:3306", user: app, password: "\${env:DUCKCOOP_TEST_NOT_SET}" }
  odd: { kind: oracle }
telemetry: { log_level: loud }
auth: { mode: api_keys }
`;

/** Path and expectation of each mistake above. */
const MISTAKES = [
  ['server.port', 'from 0 to 65535'],
  ['server.hots', 'expected one of host, port'],
  ['server.drain_timeout', 'expected a duration with its unit'],
  ['pools.interactive.size', '1 or more'],
  ['pools.interactive.memory_limit', 'expected memory_hard_limit, "2GB", at most'],
  ['pools.interactive.restart.strategy', 'one_for_one, one_for_all, rest_for_one'],
  ['pools.interactive.restart.backoff.jitter', 'from 0 to 1'],
  ['sources.main', 'expected another name; taken: main'],
  ['sources.pg.databse', 'expected one of kind'],
  ['sources.pg.database', 'expected'],
  ['sources.my.host', 'expected'],
  ['sources.my.password', 'DUCKCOOP_TEST_NOT_SET to be set'],
  ['sources.odd.kind', 'expected one of postgres, mysql'],
  ['telemetry.log_level', 'trace, debug, info'],
  ['auth.principals', 'expected a principal at least'],
] as const;

async function wrongFile(): Promise<string> {
  const file = join(await temporaryFolder(), 'duckcoop.yaml');
  await writeFile(file, WRONG);
  return file;
}

describe('every mistake at once, with its place, its path and what was expected', () => {
  it.each([
    { command: 'serve', args: ['serve', '--config'], exitCode: 2 },
    { command: 'check', args: ['check'], exitCode: 1 },
  ])('of duckcoop $command, which ends with $exitCode', async ({ args, exitCode }) => {
    const file = await wrongFile();
    const folder = join(file, '..');
    const { code, stdout, stderr } = await duckcoop([...args, file]);
    expect({ code, stdout }).toEqual({ code: exitCode, stdout: '' });
    const lines = stderr.trimEnd().split('\n').slice(1);
    for (const [path, expected] of MISTAKES) {
      const line = lines.find((candidate) =>
        new RegExp(`: ${path.replaceAll('.', '\\.')}( is |: )`).test(candidate),
      );
      expect(line, path).toMatch(new RegExp(`^${file}:\\d+:\\d+: `));
      expect(line, path).toContain(expected);
    }
    expect(lines).toHaveLength(MISTAKES.length);
    expect(stderr).not.toContain('hunter2');
    expect(readdirSync(folder)).toEqual(['duckcoop.yaml']);
    expect(processesIn(folder)).toEqual([]);
  });
});

it('refuses to serve everybody by accident', async () => {
  const { code, stderr } = await duckcoop(['serve', '--host', '0.0.0.0', '--port', '0']);
  expect(code).toBe(2);
  expect(stderr).toContain('server.host');
  expect(stderr).toContain('--insecure');
});

it('says that its port is taken, ends with 1, and leaves nothing', async () => {
  const first = await serve('pools: { interactive: { size: 1 } }');
  const { file, dataDir } = await writeConfiguration(
    await temporaryFolder(),
    `server: { port: ${first.port} }`,
  );
  const { code, stderr } = await duckcoop(['serve', '--config', file]);
  expect(code).toBe(1);
  expect(stderr).toBe(
    `error: cannot serve on 127.0.0.1:${first.port}: another process listens there (EADDRINUSE)\n`,
  );
  expect(existsSync(join(dataDir, 'run')) ? readdirSync(join(dataDir, 'run')) : []).toEqual([]);
  expect(processesIn(dataDir)).toEqual([]);

  const other = await writeConfiguration(
    await temporaryFolder(),
    `pools: { exports: { size: 1 } }\nexports: { egress: { port: ${first.port} } }\nserver: { port: 0 }`,
  );
  const where = `127.0.0.1:${first.port}: another process listens there (EADDRINUSE)`;
  expect(await duckcoop(['serve', '--config', other.file])).toMatchObject({
    code: 1,
    stderr: `error: cannot serve: the egress process cannot listen on ${where}; exports.egress says where it listens\n`,
  });
  expect(processesIn(other.dataDir)).toEqual([]);
  await first.assertQuiet(1);
});

it('says that an address is not its own', async () => {
  const { code, stderr } = await duckcoop(['serve', '--host', '192.0.2.1', '--port', '0', '--insecure']);
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: 'error: cannot serve on 192.0.2.1:0: this machine has no such address (EADDRNOTAVAIL)\n',
  });
});

it('serves without any file: on loopback, without sources, its data below the current folder', async () => {
  const cwd = await temporaryFolder();
  const served = await Served.start({ cwd, dataDir: join(cwd, '.duckcoop') });
  expect(new URL(served.url).hostname).toBe('127.0.0.1');
  expect((await served.get('/v1/sources')).json()).toEqual({ sources: [] });
  expect((await served.query('SELECT 42')).json()).toMatchObject({ data: [[42]] });
  await served.assertQuiet(2);
  await served.stop();
});

it('reads its file anew on SIGHUP, and when it changes where that is wanted', async () => {
  const served = await serve('reload: { watch: true }\npools: { interactive: { size: 1 } }');
  const file = join(dirname(served.dataDir), 'duckcoop.yaml');
  const text = readFileSync(file, 'utf8');
  const reloads = (event: string) => served.log(event).map(({ trigger }) => trigger);
  served.reloadSignal();
  await eventually(() => reloads('config.reloaded').includes('signal'), { what: 'it has reloaded' });

  // As editors and volumes do it: another file takes the name.
  writeFileSync(`${file}.new`, text.replace('size: 1', 'size: 2'));
  renameSync(`${file}.new`, file);
  await served.idleWorkers(2);
  expect(reloads('config.reloaded')).toEqual(['signal', 'watch']);
  writeFileSync(file, text.replace('size: 1', 'size: none'));
  await eventually(() => reloads('config.refused').includes('watch'), { what: 'it has refused' });
  await served.assertQuiet(2);
  await served.stop();
});

it('does not serve a file that is not there', async () => {
  const { code, stderr } = await duckcoop(['serve', '--config', '/nowhere/duckcoop.yaml']);
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('ENOENT') });
});
