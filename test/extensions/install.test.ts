import { mkdir, readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { duckcoop, startDuckcoop } from '../support/cli.ts';
import { temporaryFolder } from '../support/temp.ts';
import { freePort } from '../support/throwaway.ts';
import { httpServer, realExtension, repository, tampered, wheels } from './fixtures.ts';

const NAME = 'httpfs';
const real = realExtension(NAME);

/** Where an install into `directory` leaves the extension. */
function placeIn(directory: string): { readonly folder: string; readonly file: string } {
  const folder = join(directory, real.version, real.platform);
  return { folder, file: join(folder, `${NAME}.duckdb_extension`) };
}

async function noRepository(): Promise<string> {
  return `http://127.0.0.1:${await freePort()}`;
}

function install(directory: string, url: string, env: Record<string, string> = {}) {
  return duckcoop(['extensions', 'install', NAME, '--directory', directory, '--repository', url], { env });
}

async function noWheels(): Promise<Record<string, string>> {
  return wheels(await temporaryFolder(), {});
}

describe('duckcoop extensions install', () => {
  it('puts the file from the repository in place, and leaves it alone the next time', async () => {
    const directory = await temporaryFolder();
    const { folder, file } = placeIn(directory);
    const url = await repository({ [NAME]: real });

    const first = await install(directory, url);
    expect(first.stdout).toContain(`${NAME}: installed from ${url} (${file}, ${real.bytes.length} bytes)`);
    expect(first.code).toBe(0);
    expect((await readFile(file)).equals(real.bytes)).toBe(true);
    expect(await readdir(folder)).toEqual([`${NAME}.duckdb_extension`]);

    const { ino } = await stat(file);
    const second = await install(directory, await noRepository());
    expect(second).toMatchObject({ code: 0, stdout: `${NAME}: there already (${file})\n` });
    expect((await stat(file)).ino).toBe(ino);
  });

  it('takes the wheel when the repository cannot be reached', async () => {
    const directory = await temporaryFolder();
    const env = await wheels(await temporaryFolder(), { [NAME]: real });
    const { code, stdout } = await install(directory, await noRepository(), env);
    expect(stdout).toContain('installed from wheel duckdb-extension-httpfs==');
    expect(code).toBe(0);
    expect((await readFile(placeIn(directory).file)).equals(real.bytes)).toBe(true);
  });

  it('takes the wheel when the repository accepts and says nothing', async () => {
    const directory = await temporaryFolder();
    const url = await httpServer(() => {});
    const env = await wheels(await temporaryFolder(), { [NAME]: real });
    const args = [
      'extensions',
      'install',
      NAME,
      '--directory',
      directory,
      '--repository',
      url,
      '--timeout',
      '2',
    ];
    const { code, stdout } = await duckcoop(args, { env });
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining('installed from wheel') });
  });

  it('replaces a file that is damaged', async () => {
    const directory = await temporaryFolder();
    const { folder, file } = placeIn(directory);
    await mkdir(folder, { recursive: true });
    await writeFile(file, tampered(real.bytes));
    const { code } = await install(directory, await repository({ [NAME]: real }));
    expect(code).toBe(0);
    expect((await readFile(file)).equals(real.bytes)).toBe(true);
  });

  it('refuses a file whose signature is wrong, wherever it comes from, and leaves nothing behind', async () => {
    const directory = await temporaryFolder();
    const bad = { ...real, bytes: tampered(real.bytes) };
    const env = await wheels(await temporaryFolder(), { [NAME]: bad });
    const { code, stdout, stderr } = await install(directory, await repository({ [NAME]: bad }), env);
    expect(code).toBe(1);
    expect(stdout).toMatch(/httpfs: failed\n.*signature.*\n {2}wheel .*signature/i);
    expect(stderr).toContain(`error: ${NAME} for DuckDB ${real.version} on ${real.platform}: not installed.`);
    expect(stderr).toContain(placeIn(directory).folder);
    expect(await readdir(placeIn(directory).folder)).toEqual([]);
  });

  it('says for each origin what went wrong, and still installs the others', async () => {
    const directory = await temporaryFolder();
    const url = await repository({ [NAME]: real });
    const args = ['extensions', 'install', 'nowhere', NAME, '--directory', directory, '--repository', url];
    const { code, stdout, stderr } = await duckcoop(args, { env: await noWheels() });
    expect(code).toBe(1);
    expect(stdout).toContain(`nowhere: failed\n  ${url}: `);
    expect(stdout).toContain('  wheel duckdb-extension-nowhere==');
    expect(stdout).toContain('No matching distribution found');
    expect(stdout).toContain(`${NAME}: installed from ${url}`);
    expect(stderr).toContain('error: nowhere for DuckDB');
  });

  it('says that Python is missing where that is the reason', async () => {
    const env = { PATH: await temporaryFolder() };
    const { code, stdout } = await install(await temporaryFolder(), await noRepository(), env);
    expect({ code, stdout }).toEqual({
      code: 1,
      stdout: expect.stringContaining('python3 is not installed'),
    });
  });

  it('may run twice at once', async () => {
    const directory = await temporaryFolder();
    const url = await repository({ [NAME]: real });
    const both = await Promise.all([install(directory, url), install(directory, url)]);
    expect(both.map(({ code, stderr }) => ({ code, stderr }))).toEqual([
      { code: 0, stderr: '' },
      { code: 0, stderr: '' },
    ]);
    expect(await readdir(placeIn(directory).folder)).toEqual([`${NAME}.duckdb_extension`]);
  });

  it('leaves nothing behind when it is interrupted', async () => {
    const directory = await temporaryFolder();
    let asked = () => {};
    const download = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const url = await httpServer(() => asked());
    const args = ['extensions', 'install', NAME, '--directory', directory, '--repository', url];
    const command = startDuckcoop(args);
    await download;
    command.process.kill('SIGINT');
    expect(await command.ended).toMatchObject({ code: 1, stderr: 'error: interrupted\n' });
    expect(await readdir(placeIn(directory).folder)).toEqual([]);
  });

  it('clears what an install that was killed left behind long ago, and nothing younger', async () => {
    const directory = await temporaryFolder();
    const { folder } = placeIn(directory);
    await mkdir(join(folder, '.installing-old'), { recursive: true });
    await mkdir(join(folder, '.installing-young'));
    await utimes(join(folder, '.installing-old'), 1, 1);
    await install(directory, await repository({ [NAME]: real }));
    expect((await readdir(folder)).sort()).toEqual(['.installing-young', `${NAME}.duckdb_extension`]);
  });

  it('ends with 1 and says where when the folder cannot be made', async () => {
    const file = join(await temporaryFolder(), 'file');
    await writeFile(file, '');
    const { code, stderr } = await install(file, await noRepository());
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining(`cannot install into ${file}: `),
    });
  });

  it('ends with 2 for a name that cannot be one', async () => {
    const { code, stderr } = await duckcoop(['extensions', 'install', "x'; DROP"]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('no extension name') });
  });

  it('takes folder and names from the configuration', async () => {
    const folder = await temporaryFolder();
    const config = join(folder, 'duckcoop.yaml');
    await writeFile(config, `extensions: { directory: ./here, load: [${NAME}] }`);
    const url = await repository({ [NAME]: real });
    const { code, stdout } = await duckcoop([
      'extensions',
      'install',
      '--config',
      config,
      '--repository',
      url,
    ]);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringContaining(placeIn(join(folder, 'here')).file),
    });
  });
});

describe('duckcoop extensions list', () => {
  it('says name, version, size and path of what loads', async () => {
    const directory = await temporaryFolder();
    const { folder, file } = placeIn(directory);
    const config = join(directory, 'duckcoop.yaml');
    await writeFile(config, `extensions: { directory: ., load: [${NAME}] }`);
    await mkdir(folder, { recursive: true });
    await writeFile(file, real.bytes);
    const { code, stdout, stderr } = await duckcoop(['extensions', 'list', '--config', config]);
    expect(stdout).toMatch(new RegExp(`^httpfs │ \\w+ │ ${real.bytes.length} │ yes +│ ${file}$`, 'm'));
    expect({ code, stderr }).toEqual({ code: 0, stderr: `DuckDB ${real.version}, ${real.platform}\n` });
  });

  it('ends with 1 when one is missing or does not load', async () => {
    const directory = await temporaryFolder();
    const { folder, file } = placeIn(directory);
    await mkdir(folder, { recursive: true });
    await writeFile(file, 'no extension');
    const { code, stdout, stderr } = await duckcoop(['extensions', 'list', '--directory', directory]);
    expect(stdout).toMatch(/^httpfs +│ NULL +│ +12 │ no: /m);
    expect(stdout).toMatch(/^mysql_scanner +│ NULL +│ +NULL │ no: not installed/m);
    expect(code).toBe(1);
    expect(stderr).toContain('`duckcoop extensions install` puts that right');
  });
});
