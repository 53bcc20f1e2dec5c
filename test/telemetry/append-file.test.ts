import { chmod, mkdir, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { AppendFile, MAX_WAITING } from '../../src/telemetry/append-file.ts';
import { temporaryFolder } from '../support/temp.ts';
import { until } from '../support/test-server.ts';

function open(path: string) {
  const troubles: string[] = [];
  const file = new AppendFile({
    onTrouble: (error, where) => troubles.push(`${where}: ${(error as NodeJS.ErrnoException).code}`),
    gapLine: (lost) => `lost ${lost}`,
  });
  file.open(path);
  onTestFinished(() => file.close());
  return { file, troubles };
}

const linesOf = async (path: string) => (await readFile(path, 'utf8')).split('\n').slice(0, -1);
const isThere = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

it('lines are there in their order, in a file that is nobody else’s to read', async () => {
  const path = join(await temporaryFolder(), 'lines');
  const { file, troubles } = open(path);
  const lines = Array.from({ length: 1_000 }, (_, n) => `line ${n}`);
  for (const line of lines) file.write(line);
  await file.close();
  expect(await linesOf(path)).toEqual(lines);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(troubles).toEqual([]);
});

it('a file that was moved away is left alone once it is opened anew, and no line is lost between them', async () => {
  const path = join(await temporaryFolder(), 'lines');
  const { file } = open(path);
  for (let n = 0; n < 300; n += 1) {
    file.write(`line ${n}`);
    if (n % 100 !== 99) continue;
    await until('it is there', () => isThere(path));
    await rename(path, `${path}.${n}`);
    file.open(path);
    await until('there is another one', () => isThere(path));
  }
  await file.close();
  const all = [
    ...(await linesOf(`${path}.99`)),
    ...(await linesOf(`${path}.199`)),
    ...(await linesOf(`${path}.299`)),
  ];
  expect([...all, ...(await linesOf(path))].toSorted()).toEqual(
    Array.from({ length: 300 }, (_, n) => `line ${n}`).toSorted(),
  );
});

it('a full disk is told once, costs a bounded memory, and what was lost is said when there is room again', async () => {
  const path = join(await temporaryFolder(), 'lines');
  const { file, troubles } = open('/dev/full');
  const long = 'x'.repeat(MAX_WAITING / 8 - 10);
  for (let n = 0; n < 20; n += 1) file.write(`${n} ${long}`);
  await until('it is told', () => troubles.length > 0);
  // Tried once more, and not told once more.
  file.open('/dev/full');
  await until('it was tried', async () => {
    file.open(path);
    return isThere(path);
  });
  await file.close();
  expect(troubles).toEqual(['/dev/full: ENOSPC']);
  const lines = await linesOf(path);
  expect(lines.map((line) => line.slice(0, 7).trim())).toEqual([
    ...Array.from({ length: 8 }, (_, n) => `${n} xxxxx`),
    'lost 12',
  ]);
});

it.each(['no such folder', 'a folder'])('%s is no reason to wait or to fail', async (what) => {
  const folder = await temporaryFolder();
  const path = join(folder, 'there');
  if (what === 'a folder') await mkdir(path);
  const { file, troubles } = open(what === 'a folder' ? path : join(path, 'lines'));
  file.write('a line');
  await until('it is told', () => troubles.length > 0);
  await chmod(folder, 0o700);
  const started = performance.now();
  await file.close();
  expect(performance.now() - started).toBeLessThan(1_500);
  expect(troubles).toHaveLength(1);
});
