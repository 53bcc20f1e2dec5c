/**
 * The processes and folders of a server on this machine. A worker works in its run folder, `<worker>-<incarnation>`, beside
 * those of the others: by that it is known to be here, and whatever else works there is an earlier incarnation.
 */
import { readdir, readlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { WorkerView } from './footprint.ts';

/** Where the run folders are; undefined for a server on another machine, in another container, or of another user. */
export async function findRunFolder(workers: readonly WorkerView[]): Promise<string | undefined> {
  for (const worker of workers) {
    const folder = worker.pid === null ? undefined : await folderOf(String(worker.pid));
    if (folder !== undefined && basename(folder) === folderName(worker)) return dirname(folder);
  }
  return undefined;
}

/** Processes and folders that belong to none of these workers, and workers without a folder: one line each. */
export async function strays(runFolder: string, workers: readonly WorkerView[]): Promise<string[]> {
  const lines: string[] = [];
  const pids = new Set(workers.map(({ pid }) => String(pid)));
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || pids.has(name)) continue;
    // A folder that is removed is still named, with a mark behind it.
    const folder = await folderOf(name);
    if (folder?.startsWith(`${runFolder}/`)) lines.push(`process ${name} lives in ${basename(folder)}`);
  }
  const wanted = new Set(workers.map(folderName));
  const there = await readdir(runFolder).catch((): string[] => []);
  for (const name of there) if (!wanted.has(name)) lines.push(`run folder ${name} has no worker`);
  for (const name of wanted) if (!there.includes(name)) lines.push(`worker ${name} has no run folder`);
  return lines;
}

function folderName({ id, incarnation }: WorkerView): string {
  return `${id}-${incarnation}`;
}

function folderOf(pid: string): Promise<string | undefined> {
  return readlink(`/proc/${pid}/cwd`).catch(() => undefined);
}
