/**
 * The results that are kept for later: files of their own, each with one owner, a time to live and a share of the disk.
 *
 * ```
 *              keep                 drop, or its time is over            the last reader is done
 *   writing ----------> kept --------------------------------> dropped ---------------------------> (no file)
 *      |                                                          ^
 *      +-------- drop: its query failed, or was cancelled --------+
 * ```
 *
 * A worker writes the file and workers read it (duckdb/kept-result.ts); here nobody looks into one. They are gone with the
 * server, and what a server that was killed has left is swept by the next.
 */
import { mkdirSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Clock } from '../actors/actor.ts';
import type { ResultSink } from '../actors/job.ts';
import { Failure } from '../failures.ts';
import { openOwnFolder } from '../own-folder.ts';

export interface ResultStoreSettings {
  /** Milliseconds that a result is kept. */
  readonly retention: number;
  /** Bytes that all of them may take. */
  readonly disk_limit: number;
}

export interface ResultStoreOptions {
  readonly dataDir: string;
  readonly settings: () => ResultStoreSettings;
  readonly clock: Clock;
  /** Milliseconds since the epoch. */
  readonly wallClock?: () => number;
  readonly onFault: (error: unknown) => void;
}

export class ResultStore {
  readonly #folder: string;
  readonly #options: ResultStoreOptions;
  readonly #results = new Set<StoredResult>();
  /** Removals that are under way. */
  readonly #removals = new Set<Promise<void>>();
  #usedBytes = 0;
  #next = 1;

  private constructor(folder: string, options: ResultStoreOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  /** Wipes what former runs have left. */
  static async open(options: ResultStoreOptions): Promise<ResultStore> {
    return new ResultStore(await openOwnFolder(resolve(options.dataDir, 'results')), options);
  }

  /** Bytes of the results that are kept, and of those whose files are not removed yet. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** A place for one more result. Throws `DISK_LIMIT` where there is none. */
  begin(): StoredResult {
    const { disk_limit: limit } = this.#options.settings();
    const room = limit - this.#usedBytes;
    if (room <= 0) throw full(limit, this.#usedBytes);
    const folder = join(this.#folder, String(this.#next));
    this.#next += 1;
    try {
      mkdirSync(folder, { mode: 0o700 });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw code === 'ENOSPC' || code === 'EDQUOT' ? full(limit, this.#usedBytes) : error;
    }
    const result = new StoredResult(folder, room, {
      clock: this.#options.clock,
      wallClock: this.#options.wallClock ?? Date.now,
      retention: () => this.#options.settings().retention,
      take: (bytes) => this.#take(bytes),
      remove: (path, bytes) => this.#remove(path, bytes),
      forget: (gone) => this.#results.delete(gone),
      onFault: this.#options.onFault,
    });
    this.#results.add(result);
    return result;
  }

  /** Resolves once nothing is left. For the very end, when no worker is there any more. */
  async close(): Promise<void> {
    for (const result of this.#results) result.drop();
    await Promise.all(this.#removals);
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  }

  /** Those that were written at the same time had the same room: the last ones to be done do not fit any more. */
  #take(bytes: number): Failure | undefined {
    const { disk_limit: limit } = this.#options.settings();
    if (this.#usedBytes + bytes > limit) return full(limit, this.#usedBytes + bytes);
    this.#usedBytes += bytes;
    return undefined;
  }

  #remove(path: string, bytes: number): Promise<void> {
    const removal = rm(path, { recursive: true, force: true, maxRetries: 3 })
      .then(() => {
        this.#usedBytes -= bytes;
      }, this.#options.onFault)
      .finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
    return removal;
  }
}

interface Surroundings {
  readonly clock: Clock;
  readonly wallClock: () => number;
  readonly retention: () => number;
  /** Why so many bytes more cannot be kept, if they cannot. */
  readonly take: (bytes: number) => Failure | undefined;
  readonly remove: (path: string, bytes: number) => Promise<void>;
  readonly forget: (result: StoredResult) => void;
  readonly onFault: (error: unknown) => void;
}

/** One of them. To the worker that writes it, it is where the bytes of the query go: none of them come this way. */
export class StoredResult implements ResultSink {
  /** Nobody has seen any of it: another attempt can always take the place of one. */
  readonly committed = false;
  readonly delivered = 0;
  /** Of the file. */
  readonly path: string;
  /** Bytes that it may have. */
  readonly maxBytes: number;
  readonly #folder: string;
  readonly #surroundings: Surroundings;
  #state: 'writing' | 'kept' | 'dropped' = 'writing';
  #bytes = 0;
  #voids = 0;
  #readers = 0;
  #expiresAt: number | undefined;
  #cancelExpiry: () => void = () => undefined;
  #removed = false;

  constructor(folder: string, maxBytes: number, surroundings: Surroundings) {
    this.#folder = folder;
    this.path = join(folder, 'result.duckdb');
    this.maxBytes = maxBytes;
    this.#surroundings = surroundings;
  }

  get state(): 'writing' | 'kept' | 'dropped' {
    return this.#state;
  }

  /** Milliseconds since the epoch; of one that is kept. */
  get expiresAt(): number | undefined {
    return this.#expiresAt;
  }

  write(): undefined {}

  discard(): void {}

  /** What the attempt has written so far is put aside at once, and removed behind: the next one finds an empty folder. */
  reset(): void {
    if (this.#state !== 'writing') return;
    this.#voids += 1;
    const aside = `${this.#folder}-void-${this.#voids}`;
    try {
      renameSync(this.#folder, aside);
      mkdirSync(this.#folder, { mode: 0o700 });
    } catch (error) {
      // The next attempt finds no folder, or one that is not empty, and fails: whoever hands the query on does not.
      this.#surroundings.onFault(error);
    }
    void this.#surroundings.remove(aside, 0);
  }

  /** It is whole, and has so many bytes. Returns why it cannot be kept, if it cannot. */
  keep(bytes: number): Failure | undefined {
    if (this.#state !== 'writing') return undefined;
    const refusal = this.#surroundings.take(bytes);
    if (refusal !== undefined) {
      this.drop();
      return refusal;
    }
    this.#state = 'kept';
    this.#bytes = bytes;
    const { clock, wallClock, retention } = this.#surroundings;
    const left = retention();
    this.#expiresAt = wallClock() + left;
    this.#cancelExpiry = clock.setTimer(left, () => this.drop());
    return undefined;
  }

  /** For one who reads it: the file stays until this is called. Undefined for one that is not to be had. */
  open(): (() => void) | undefined {
    if (this.#state !== 'kept') return undefined;
    this.#readers += 1;
    let open = true;
    return () => {
      if (open) this.#readers -= 1;
      open = false;
      this.#removeIfUnread();
    };
  }

  /** Nobody can have it from now on; its file goes with the last of those who read it. */
  drop(): void {
    if (this.#state === 'dropped') return;
    this.#state = 'dropped';
    this.#cancelExpiry();
    this.#expiresAt = undefined;
    this.#surroundings.forget(this);
    this.#removeIfUnread();
  }

  #removeIfUnread(): void {
    if (this.#state !== 'dropped' || this.#readers > 0 || this.#removed) return;
    this.#removed = true;
    void this.#surroundings.remove(this.#folder, this.#bytes);
  }
}

function full(limit: number, used: number): Failure {
  const detail = `Kept results may take ${limit} bytes, and there is no room for this one: delete some, or wait until they expire.`;
  return new Failure('DISK_LIMIT', detail, { members: { limit, used } });
}
