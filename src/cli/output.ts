/** Where a result goes: standard output, or a file that is either whole or not there. */
import { randomUUID } from 'node:crypto';
import { open, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CliError, EXIT, messageOf } from './exit.ts';

/** Whoever read our standard output has closed it, as `head` does: the result is not wanted any more. */
export class ReaderGone extends Error {
  override readonly name = 'ReaderGone';
}

export interface Output {
  /** Takes all of `content`; rejects when `content` fails, and then nothing of it is at its destination. */
  write(content: Readable): Promise<void>;
}

export function standardOutput(): Output {
  return {
    write: async (content) => {
      try {
        await pipeline(content, process.stdout, { end: false });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
        throw new ReaderGone('standard output is closed', { cause: error });
      }
    },
  };
}

/** A file beside its destination takes the content, and the destination's place at the end. */
export async function fileOutput(file: string): Promise<Output> {
  const target = await destination(file);
  /** What goes wrong with the file is told as such, and never taken for a result that broke off. */
  const atFile = async <Value>(step: Promise<Value>): Promise<Value> => {
    try {
      return await step;
    } catch (error) {
      throw new CliError(EXIT.failed, `cannot write ${file}: ${messageOf(error)}`, { cause: error });
    }
  };
  return {
    write: async (content) => {
      const temporary = join(dirname(target), `.${basename(target)}.${randomUUID()}`);
      try {
        const handle = await atFile(open(temporary, 'wx'));
        try {
          for await (const piece of content) await atFile(handle.appendFile(piece));
          await atFile(handle.sync());
        } finally {
          await handle.close();
        }
        await atFile(rename(temporary, target));
      } catch (error) {
        content.destroy();
        await rm(temporary, { force: true });
        throw error;
      }
    },
  };
}

/** Through links; refuses what a rename would destroy or cannot replace, such as a device or a folder. */
async function destination(file: string): Promise<string> {
  try {
    if (!(await stat(file)).isFile())
      throw new CliError(EXIT.usage, `cannot write ${file}: it is no regular file`);
    return await realpath(file);
  } catch (error) {
    if (error instanceof CliError) throw error;
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw new CliError(EXIT.usage, `cannot write ${file}: ${messageOf(error)}`, { cause: error });
    }
  }
  const folder = await stat(dirname(file)).catch(() => undefined);
  if (folder?.isDirectory() !== true) {
    throw new CliError(EXIT.usage, `cannot write ${file}: there is no folder ${dirname(file)}`);
  }
  return file;
}
