import { existsSync } from 'node:fs';
import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ROOT, startNode } from '../support/cli.ts';
import { temporaryFolder } from '../support/temp.ts';

const LOCK = pathToFileURL(join(ROOT, 'scripts/lib/lock.js')).href;

/** A process that runs `work` (the body of an async function) with the lock, in `folder`. */
function locked(folder: string, work: string) {
  const code = `
    import { withLock } from ${JSON.stringify(LOCK)};
    import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
    import { setTimeout as pause } from 'node:timers/promises';
    await withLock('lock', async () => { ${work} }, (pid) => console.log('waits for ' + pid));
  `;
  return startNode(['--input-type=module', '--eval', code], { cwd: folder });
}

const FOREVER = "console.log('held'); setInterval(() => {}, 1000); await new Promise(() => {});";

async function untilHeld(holder: ReturnType<typeof startNode>): Promise<void> {
  await new Promise((resolve) => holder.process.stdout?.once('data', resolve));
}

describe('the lock of set-up', () => {
  it('lets one process in at a time', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'count'), '0');
    const work = `
      mkdirSync('inside'); // Fails when somebody else is.
      const count = Number(readFileSync('count', 'utf8'));
      await pause(5);
      writeFileSync('count', String(count + 1));
      rmdirSync('inside');
    `;
    const ends = await Promise.all(Array.from({ length: 5 }, () => locked(folder, work).ended));
    expect(ends.map(({ code, stderr }) => ({ code, stderr }))).toEqual(
      Array(5).fill({ code: 0, stderr: '' }),
    );
    expect(await readFile(join(folder, 'count'), 'utf8')).toBe('5');
    expect(await readdir(folder)).toEqual(['count']);
  });

  it('says whom it waits for', async () => {
    const folder = await temporaryFolder();
    const holder = locked(folder, FOREVER);
    await untilHeld(holder);
    const waiter = locked(folder, '');
    await untilHeld(waiter);
    holder.process.kill('SIGTERM');
    expect(await waiter.ended).toMatchObject({ code: 0, stdout: `waits for ${holder.process.pid}\n` });
  });

  it('is released by a process that is asked to end', async () => {
    const folder = await temporaryFolder();
    const holder = locked(folder, FOREVER);
    await untilHeld(holder);
    holder.process.kill('SIGINT');
    expect((await holder.ended).code).toBe(130);
    expect(existsSync(join(folder, 'lock'))).toBe(false);
  });

  it('is taken over from a process that was killed', async () => {
    const folder = await temporaryFolder();
    const holder = locked(folder, FOREVER);
    await untilHeld(holder);
    holder.process.kill('SIGKILL');
    await holder.ended;
    expect(existsSync(join(folder, 'lock'))).toBe(true);
    expect(await locked(folder, '').ended).toMatchObject({ code: 0, stdout: '', stderr: '' });
  });

  it('is taken over when its owner, wherever it ran, has long been silent', async () => {
    const folder = await temporaryFolder();
    const lock = join(folder, 'lock');
    await writeFile(lock, JSON.stringify({ pid: process.pid, host: `not-${hostname()}` }));
    await utimes(lock, 1, 1);
    expect(await locked(folder, '').ended).toMatchObject({ code: 0, stdout: '', stderr: '' });
  });

  it('is released when the work fails', async () => {
    const folder = await temporaryFolder();
    const { code, stderr } = await locked(folder, "throw new Error('no luck')").ended;
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('no luck') });
    expect(await readdir(folder)).toEqual([]);
  });
});
