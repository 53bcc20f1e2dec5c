import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EXTENSIONS, MB, TestWorker, until, useRunFolders, useWorker } from './worker-harness.ts';

const folders = useRunFolders();

const SECRET = 'a secret of the operator';
process.env.DUCKCOOP_TEST_SECRET = SECRET;
process.env.PGPASSWORD = SECRET;
process.env.NODE_OPTIONS_FOR_NOBODY = SECRET;

const worker = useWorker({ worker: 'launched', configure: { memoryHardLimit: 1_234 * MB, niceness: 7 } });

const proc = (name: string) => readFileSync(`/proc/${worker().pid}/${name}`, 'utf8');

describe('a worker process', () => {
  it('has its limits before DuckDB is loaded', () => {
    const limits = proc('limits');
    expect(limits).toMatch(new RegExp(`^Max data size +${1_234 * MB} +${1_234 * MB} +bytes`, 'm'));
    expect(limits).toMatch(/^Max core file size +0 +0 +bytes/m);
  });

  it('comes after its parent when the machine is short of time or memory', () => {
    const stat = proc('stat')
      .slice(proc('stat').lastIndexOf(')') + 2)
      .split(' ');
    expect(Number(stat[16])).toBe(7);
    // The scheduling policy: SCHED_BATCH (proc(5), stat, field 41; sched(7)).
    expect(Number(stat[38])).toBe(3);
    expect(Number(proc('oom_score_adj'))).toBe(500);
    // Not its parent, and not one thread alone.
    for (const thread of readdirSync(`/proc/${worker().pid}/task`))
      expect(readFileSync(`/proc/${worker().pid}/task/${thread}/oom_score_adj`, 'utf8').trim()).toBe('500');
    expect(Number(readFileSync('/proc/self/oom_score_adj', 'utf8'))).not.toBe(500);
  });

  it('knows no more of the environment than it needs', () => {
    const environment = proc('environ');
    const names = environment.split('\0').flatMap((entry) => entry.split('=')[0] || []);
    const allowed = [
      'HOME',
      'TMPDIR',
      'UV_THREADPOOL_SIZE',
      'PATH',
      'LANG',
      'LC_ALL',
      'TZ',
      'SSL_CERT_FILE',
      'SSL_CERT_DIR',
    ];
    // What the shell adds by itself.
    expect(names.filter((name) => ![...allowed, 'PWD', 'OLDPWD', 'SHLVL', '_'].includes(name))).toEqual([]);
    expect(environment).not.toContain(SECRET);
    expect(/(?:^|\0)HOME=([^\0]*)/.exec(environment)?.[1]).toBe(readlinkSync(`/proc/${worker().pid}/cwd`));
  });

  it('has no secret in its arguments, and is node itself rather than a shell around it', () => {
    const args = proc('cmdline').split('\0').filter(Boolean);
    expect(args).toEqual([
      process.execPath,
      '--no-warnings',
      expect.stringMatching(/^--initial-old-space-size=\d+$/),
      expect.stringMatching(/dist\/workers\/main\.js$/),
    ]);
    expect(readlinkSync(`/proc/${worker().pid}/exe`)).toBe(readlinkSync('/proc/self/exe'));
  });

  it('works in a private folder of its own', () => {
    const folder = readlinkSync(`/proc/${worker().pid}/cwd`);
    expect(folder).toMatch(/\/run\/\d+-\d+-\d+\/launched-1$/);
    for (const path of [folder, join(folder, 'spill'), join(folder, '..')])
      expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder, 'flight-recorder')).mode & 0o777).toBe(0o600);
  });

  it('has inherited no descriptor but its own pipes', () => {
    const mine = new Set(targets(process.pid));
    const shared = targets(worker().pid).filter(
      (target) => mine.has(target) && !target.startsWith('/dev/null') && !target.startsWith('anon_inode'),
    );
    expect(shared).toEqual([]);
    const fds = (fd: number) => readlinkSync(`/proc/${worker().pid}/fd/${fd}`);
    expect([fds(0), fds(1)]).toEqual(['/dev/null', '/dev/null']);
    for (const fd of [2, 3, 4]) expect(fds(fd)).toMatch(/^socket:|^pipe:/);
  });

  it('is in a session of its own, so that Ctrl-C is for its parent', () => {
    const stat = proc('stat')
      .slice(proc('stat').lastIndexOf(')') + 2)
      .split(' ');
    expect(Number(stat[3])).toBe(worker().pid);
  });

  it('has loaded no extension it was not told to', () => {
    expect(proc('maps')).not.toContain('.duckdb_extension');
  });
});

describe('limits and native code', () => {
  it('limits stand in a process that has not loaded DuckDB yet', async () => {
    const slow = new TestWorker({
      folders: folders(),
      worker: 'slow',
      configure: { memoryHardLimit: 999 * MB },
    });
    const seen: { duckdb: boolean; limited: boolean }[] = [];
    await until('ready', async () => {
      if (slow.process.pid !== undefined) {
        try {
          const maps = readFileSync(`/proc/${slow.pid}/maps`, 'utf8');
          const limits = readFileSync(`/proc/${slow.pid}/limits`, 'utf8');
          seen.push({ duckdb: maps.includes('libduckdb'), limited: limits.includes(String(999 * MB)) });
        } catch {
          // It is between fork and exec, or gone.
        }
      }
      return seen.at(-1)?.duckdb;
    });
    expect(seen.filter(({ duckdb, limited }) => duckdb && !limited)).toEqual([]);
    expect(seen.some(({ duckdb, limited }) => !duckdb && limited)).toBe(true);
    await slow.stop();
  });

  it('a parent has no libduckdb of a worker in its memory map', () => {
    expect(readFileSync('/proc/self/maps', 'utf8')).not.toContain('libduckdb');
  });

  it('an allocation beyond the hard limit is an error of the statement, and the worker says that it is to be replaced', async () => {
    const hog = await new TestWorker({
      folders: folders(),
      worker: 'hog',
      configure: { memoryHardLimit: 900 * MB },
    }).started();
    const sent = hog.send("SELECT max(length(repeat('a', 10000000) || range::VARCHAR)) FROM range(100000)");
    const later = hog.send('SELECT 1');
    expect(await sent.end).toMatchObject({
      finished: {
        verdict: { ok: false, code: 'MEMORY_LIMIT', members: { limit: 256 * MB } },
        retire: 'memory',
      },
    });
    expect(await later.end).toBe('withdrawn');
    expect(await hog.send('SELECT 1').end).toBe('withdrawn');
    expect(hog.exits).toEqual([]);
    await hog.stop();
  });

  it("DuckDB's own memory limit is an error that costs nothing", async () => {
    const worker = await new TestWorker({
      folders: folders(),
      worker: 'small',
      configure: { memoryLimit: 64 * MB, tempLimit: 0 },
    }).started();
    const { finished } = await worker.answer('SELECT list(md5(range::VARCHAR)) FROM range(5000000)');
    expect(finished).toMatchObject({
      verdict: { ok: false, code: 'MEMORY_LIMIT', members: { limit: 64 * MB } },
    });
    if (finished.retire === undefined) expect(await worker.rows('SELECT 42')).toEqual([[42]]);
    await worker.stop();
  });

  it('an extension that is not there is no reason not to start', async () => {
    const worker = await new TestWorker({
      folders: folders(),
      configure: { extensions: { directory: EXTENSIONS, names: ['no_such_extension'] } },
    }).started();
    expect(await worker.rows('SELECT 42')).toEqual([[42]]);
    await worker.stop();
  });
});

function targets(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}
