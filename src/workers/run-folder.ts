/**
 * Run folders: one for each worker process, below one for each API process, all of it gone when its owner is.
 *
 * `data_dir/run/<pid>-<start time>-<pid namespace>/<worker>-<incarnation>/` is private (0700), holds the worker's spill and its
 * flight recorder, and is wiped by the parent once the process has really ended. What an API process that was
 * killed left behind is swept by the next one that starts.
 */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { openOwnFolder } from '../own-folder.ts';

export class RunFolders {
  /** The folder of this API process. */
  readonly own: string;

  private constructor(own: string) {
    this.own = own;
  }

  /** Makes this process's folder in `dataDir` and sweeps those of processes that are gone. */
  static async open(dataDir: string, kind: 'run' | 'sessions' = 'run'): Promise<RunFolders> {
    return new RunFolders(await openOwnFolder(resolve(dataDir, kind)));
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
}
