/** What a folder takes of its disk. */
import { type Dirent, lstatSync, readdirSync } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';

/** `st_blocks` counts in these, whatever the file system's own blocks are (stat(2)). */
const BLOCK = 512;

/**
 * Bytes allocated to the files below `folder` (a sparse file counts for what is written of it), one entry after the other so
 * that nobody else's file work waits long. Stops at `maxEntries`: what is there beyond them is not counted. What goes
 * away meanwhile counts for nothing.
 */
export async function allocatedBytes(folder: string, maxEntries = 10_000): Promise<number> {
  const folders = [folder];
  let entries = 0;
  let bytes = 0;
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    for await (const entry of entriesOf(next)) {
      entries += 1;
      if (entries > maxEntries) return bytes;
      const path = join(next, entry.name);
      // Links are not followed: what they lead to is not in this folder.
      if (entry.isDirectory()) folders.push(path);
      else bytes += await lstat(path).then(({ blocks }) => blocks * BLOCK, nothing);
    }
  }
  return bytes;
}

/** Bytes of the files below `folder`, however many there are. */
export async function fileBytes(folder: string): Promise<number> {
  let bytes = 0;
  for (const { bytes: size } of await filesBelow(folder)) bytes += size;
  return bytes;
}

/** The regular files below `folder`, by their paths in it. What goes away meanwhile is left out. */
export async function filesBelow(
  folder: string,
): Promise<{ readonly path: string; readonly bytes: number }[]> {
  const files: { path: string; bytes: number }[] = [];
  const folders = [''];
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    for await (const entry of entriesOf(join(folder, next))) {
      const path = join(next, entry.name);
      if (entry.isDirectory()) folders.push(path);
      const stats = entry.isFile() ? await lstat(join(folder, path)).catch(() => undefined) : undefined;
      if (stats !== undefined) files.push({ path, bytes: stats.size });
    }
  }
  return files;
}

/** As `allocatedBytes`, at once: for a worker that looks at its own few files. */
export function allocatedBytesNow(folder: string): number {
  let bytes = 0;
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) bytes += allocatedBytesNow(path);
      else bytes += (lstatSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * BLOCK;
    }
  } catch {
    // It went away meanwhile: what was counted stands.
  }
  return bytes;
}

async function* entriesOf(folder: string): AsyncGenerator<Dirent> {
  try {
    yield* await opendir(folder);
  } catch {
    // It has gone since it was listed.
  }
}

const nothing = () => 0;
