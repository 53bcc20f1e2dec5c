/**
 * The room that a session has on disk: its workspace and what its queries spill, together.
 *
 * ```
 *   0 ............ disk_limit ........... quota (limits.ts)
 *     all may run |  what makes it larger  | nothing can be written
 *                 |  is stopped, or refused |
 * ```
 * What lies between is for DuckDB's own checkpoints, which write before they free: one that cannot costs the instance.
 * A file with free blocks in it is no smaller for them, so what counts, once the limit is passed, is what DuckDB says it uses.
 */

import { statfsSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { type DuckDBConnection, StatementType } from '@duckdb/node-api';
import { allocatedBytesNow } from '../folder-size.ts';
import { diskQuota } from '../limits.ts';
import type { Configure, FailedVerdict } from '../protocol.ts';
import type { DuckDBErrorInfo } from './duckdb-error.ts';
import { Refusal } from './refusal.ts';

const GROWS: ReadonlySet<StatementType> = new Set([
  StatementType.ALTER,
  StatementType.CREATE,
  StatementType.EXECUTE,
  StatementType.INSERT,
  StatementType.MERGE_INTO,
  StatementType.UPDATE,
]);

/** Less than that is none: DuckDB writes blocks of a quarter of it. */
const A_WRITE = 1_000_000;

/** By so much the log of what is written may grow while the file does not. */
const SLACK = 8_000_000;

const USED = "SELECT used_blocks * block_size FROM pragma_database_size() WHERE database_name = 'workspace'";

export class WorkspaceRoom {
  readonly #limit: number;
  readonly #quota: number;
  readonly #file: string;
  readonly #spill: string;

  constructor({ tempLimit, folder }: Pick<Configure, 'tempLimit' | 'folder'>, file: string) {
    this.#limit = tempLimit;
    this.#quota = diskQuota(tempLimit, 'workspace');
    this.#file = file;
    this.#spill = folder;
  }

  /** Bytes on disk now. */
  usedBytes(): number {
    return allocatedBytesNow(dirname(this.#file)) + allocatedBytesNow(this.#spill);
  }

  /** Whether a statement that began with `before` bytes on disk has made them too many. */
  isOvergrown(before: number): boolean {
    const used = this.usedBytes();
    return used > this.#limit && used > before + SLACK;
  }

  /** Throws `DISK_LIMIT` for a statement that adds to a workspace which is full. */
  async require(type: StatementType, beside: () => Promise<DuckDBConnection>): Promise<void> {
    if (!GROWS.has(type) || this.usedBytes() <= this.#limit) return;
    const connection = await beside();
    try {
      const [row] = (await connection.runAndReadAll(USED)).getRows();
      const used = Number(row?.[0] ?? 0) + sizeOf(`${this.#file}.wal`);
      if (used > this.#limit) throw new Refusal('DISK_LIMIT', this.#detail(), this.#members(used));
    } finally {
      connection.closeSync();
    }
  }

  /** Of a statement that was stopped for it. */
  exceeded(): FailedVerdict {
    return {
      ok: false,
      code: 'DISK_LIMIT',
      detail: this.#detail(),
      members: this.#members(this.usedBytes()),
    };
  }

  /**
   * Why a write failed whose error does not say so itself (a commit's, a checkpoint's); undefined where there is room. The text of
   * the error is not looked at: a query can choose it.
   */
  lacking({ type, errno }: DuckDBErrorInfo): FailedVerdict | undefined {
    if (type !== 'IO' && type !== 'TransactionContext') return undefined;
    const tooLarge = errno === constants.errno.EFBIG || sizeOf(this.#file) > this.#quota - A_WRITE;
    if (tooLarge) return this.exceeded();
    const { bavail, bsize } = statfsSync(dirname(this.#file));
    if (errno !== constants.errno.ENOSPC && bavail * bsize > A_WRITE) return undefined;
    const detail =
      'The disk of the server has no room left: what the statement did is undone. Drop what is not needed, or ask an operator.';
    return { ok: false, code: 'DISK_LIMIT', detail, members: this.#members(this.usedBytes()) };
  }

  /** An error's text without the place of the workspace. */
  withoutPlace(message: string): string {
    return message.replaceAll(this.#file, 'workspace');
  }

  #detail(): string {
    return `The tables of the session and what its queries spill may take ${this.#limit} bytes of disk. DROP or DELETE what is not needed and run CHECKPOINT, or open a session with a higher disk_limit.`;
  }

  #members(used: number): { readonly limit: number; readonly used: number } {
    return { limit: this.#limit, used };
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}
