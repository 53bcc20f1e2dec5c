/**
 * The folder of one server process below a root that several may share: private, and told from that of any other process by
 * `<pid>-<start time>-<pid namespace>`. What a process that was killed left behind is swept by the next one that starts.
 */
import { mkdir, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Makes this process's folder in `root`, sweeps those of processes that are gone, and returns its path. `adopt` may take
 * something out of one of those before it is swept, into this process's `own`.
 */
export async function openOwnFolder(
  root: string,
  adopt?: (folder: string, own: string) => Promise<void>,
): Promise<string> {
  const own = join(root, `${process.pid}-${await startTime(process.pid)}-${await pidNamespace()}`);
  await mkdir(own, { recursive: true, mode: 0o700 });
  await sweep(root, (folder) => adopt?.(folder, own));
  return own;
}

async function sweep(root: string, before: (folder: string) => Promise<void> | undefined): Promise<void> {
  for (const name of await readdir(root)) {
    const [, pid, started, namespace] = /^(\d+)-(\d+)-(\d+)$/.exec(name) ?? [];
    // Of another container's processes this one cannot tell whether they live.
    if (pid === undefined || namespace !== (await pidNamespace())) continue;
    if ((await startTime(Number(pid))) === started) continue;
    await before(join(root, name));
    await rm(join(root, name), { recursive: true, force: true });
  }
}

/** The namespace that process ids are counted in (pid_namespaces(7)); 0 where there is no /proc. */
async function pidNamespace(): Promise<string> {
  const link = await readlink('/proc/self/ns/pid').catch(() => '');
  return /\d+/.exec(link)?.[0] ?? '0';
}

/**
 * What tells a process from a later one with the same id: field 22 of `/proc/PID/stat` (proc(5)).
 * `gone` for a process that is not there; `0` where there is no /proc and the process runs.
 */
async function startTime(pid: number): Promise<string> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return 'gone';
  }
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '0';
  } catch {
    return '0';
  }
}
