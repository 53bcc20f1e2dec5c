/**
 * A file of a finished export, opened: a regular file that is really where its path says. No link is followed, neither that of
 * the file nor that of a folder above it, and whatever happens to the path afterwards, what was opened is what is read.
 */
import { constants } from 'node:fs';
import { type FileHandle, lstat, open } from 'node:fs/promises';
import { join } from 'node:path';

export interface ExportFile {
  /** For the caller to close. */
  readonly handle: FileHandle;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly modifiedAt: number;
  /** A strong validator (RFC 9110, section 8.8.1): another file at this path, or another content of this one, has another. */
  readonly etag: string;
}

/** What the system says of a path where no file of ours is: nothing is there, it is a link, or its name is too long. */
const NO_FILE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'EISDIR', 'ENXIO']);

/** What never waits (a pipe would, for its other end) and never follows a link. */
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** `parts` below `folder`, which itself is trusted. Undefined where no such file is; rejects where it cannot be told. */
export async function openExportFile(
  folder: string,
  parts: readonly string[],
): Promise<ExportFile | undefined> {
  try {
    const handle = await open(join(folder, ...parts), FLAGS);
    try {
      const stat = await handle.stat({ bigint: true });
      if (stat.isFile() && (await isAt(folder, parts, stat))) {
        const etag = `"${[stat.size, stat.mtimeNs, stat.ino].map((part) => part.toString(36)).join('-')}"`;
        return { handle, size: Number(stat.size), modifiedAt: Number(stat.mtimeMs), etag };
      }
    } catch (error) {
      await handle.close();
      throw error;
    }
    await handle.close();
  } catch (error) {
    if (!NO_FILE.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  return undefined;
}

/** O_NOFOLLOW is about the last part alone: of those above, each has to be a folder, and the last the file that was opened. */
async function isAt(
  folder: string,
  parts: readonly string[],
  opened: { readonly dev: bigint; readonly ino: bigint },
): Promise<boolean> {
  let path = folder;
  for (const part of parts.slice(0, -1)) {
    path = join(path, part);
    if (!(await lstat(path)).isDirectory()) return false;
  }
  const { dev, ino } = await lstat(join(path, parts.at(-1) as string), { bigint: true });
  return dev === opened.dev && ino === opened.ino;
}
