/**
 * Run folders: one for each worker process, below one for each API process, all of it gone when its owner is.
 *
 * `data_dir/run/<pid>-<start time>-<pid namespace>/<worker>-<incarnation>/` is private (0700), holds the worker's spill and its
 * flight recorder, and is wiped by the parent once the process has really ended. What an API process that was
 * killed left behind is swept by the next one that starts.
 */
import { mkdir, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';

export class RunFolders {
  readonly #root: string;
  /** The folder of this API process. */
  readonly own: string;

  private constructor(root: string, own: string) {
    this.#root = root;
    this.own = own;
  }

  /** Makes this process's folder in `dataDir` and sweeps those of processes that are gone. */
  static async open(dataDir: string): Promise<RunFolders> {
    const root = resolve(dataDir, 'run');
    const own = join(root, `${process.pid}-${await startTime(process.pid)}-${await pidNamespace()}`);
    await mkdir(own, { recursive: true, mode: 0o700 });
    const folders = new RunFolders(root, own);
    await folders.#sweep();
    return folders;
  }

  /** A new, empty, private folder for one worker process. */
  async create(worker: string, incarnation: number): Promise<string> {
    const folder = join(this.own, `${worker}-${incarnation}`);
    await rm(folder, { recursive: true, force: true });
    await mkdir(join(folder, 'spill'), { recursive: true, mode: 0o700 });
    return folder;
  }

  /** How many workers' folders there are. */
  async count(): Promise<number> {
    return (await readdir(this.own)).length;
  }

  /** Removes a worker's folder; only for a process that has ended. */
  async wipe(folder: string): Promise<void> {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }

  /** Removes this API process's folder, at the very end. */
  async close(): Promise<void> {
    await rm(this.own, { recursive: true, force: true, maxRetries: 3 });
  }

  async #sweep(): Promise<void> {
    for (const name of await readdir(this.#root)) {
      const [, pid, started, namespace] = /^(\d+)-(\d+)-(\d+)$/.exec(name) ?? [];
      // Of another container's processes this one cannot tell whether they live.
      if (pid === undefined || namespace !== (await pidNamespace())) continue;
      if ((await startTime(Number(pid))) !== started)
        await rm(join(this.#root, name), { recursive: true, force: true });
    }
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
