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
import { Failure, toFailure } from '../failures.ts';
import { openOwnFolder } from '../own-folder.ts';

export interface ResultStoreSettings {
  /** Milliseconds that a result is kept. */
  readonly retention: number;
  /** Bytes that all of them may take. */
  readonly disk_limit: number;
}

export interface ResultStoreOptions {
  readonly dataDir: string;
  /** Below that; `results` where nothing is said. */
  readonly folder?: string;
  /** What is kept, to begin a sentence with. */
  readonly subject?: string;
  /** Told of the folder of a server that is gone, before that is removed. */
  readonly adopt?: (folder: string, own: string) => Promise<void>;
  /** What is kept stays when this server ends. */
  readonly outlives?: boolean;
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
    const root = resolve(options.dataDir, options.folder ?? 'results');
    return new ResultStore(await openOwnFolder(root, options.adopt), options);
  }

  /** Where they are, each in a folder of its own name. */
  get folder(): string {
    return this.#folder;
  }

  /** Bytes of the results that are kept, and of those whose files are not removed yet. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** A place for one more, of this name. Throws `DISK_LIMIT` where there is none. */
  begin(name = this.#number()): StoredResult {
    const { disk_limit: limit } = this.#options.settings();
    const room = limit - this.#usedBytes;
    if (room <= 0) throw this.#full(limit, this.#usedBytes);
    const result = this.#place(name, room);
    try {
      mkdirSync(result.folder, { mode: 0o700 });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw code === 'ENOSPC' || code === 'EDQUOT' ? this.#full(limit, this.#usedBytes) : error;
    }
    this.#results.add(result);
    return result;
  }

  /** One that is there already, whole, from a server before this one. */
  adopt(name: string, bytes: number, expiresAt: number): StoredResult {
    const result = this.#place(name, bytes);
    this.#usedBytes += bytes;
    this.#results.add(result);
    result.adopted(bytes, expiresAt);
    return result;
  }

  #number(): string {
    const name = String(this.#next);
    this.#next += 1;
    return name;
  }

  #place(name: string, room: number): StoredResult {
    return new StoredResult(join(this.#folder, name), room, {
      clock: this.#options.clock,
      wallClock: this.#options.wallClock ?? Date.now,
      retention: () => this.#options.settings().retention,
      take: (bytes) => this.#take(bytes),
      remove: (path, bytes) => this.#remove(path, bytes),
      forget: (gone) => this.#results.delete(gone),
      onFault: this.#options.onFault,
    });
  }

  /** Resolves once nothing is left. For the very end, when no worker is there any more. */
  async close(): Promise<void> {
    const stays = (result: StoredResult) => this.#options.outlives === true && result.state === 'kept';
    const kept = [...this.#results].filter(stays);
    for (const result of this.#results) {
      if (stays(result)) result.forgetExpiry();
      else result.drop();
    }
    await Promise.all(this.#removals);
    if (kept.length === 0) await rm(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  }

  /** Those that were written at the same time had the same room: the last ones to be done do not fit any more. */
  #take(bytes: number): Failure | undefined {
    const { disk_limit: limit } = this.#options.settings();
    if (this.#usedBytes + bytes > limit) return this.#full(limit, this.#usedBytes + bytes);
    this.#usedBytes += bytes;
    return undefined;
  }

  #full(limit: number, used: number): Failure {
    const { subject = 'Kept results' } = this.#options;
    const detail = `${subject} may take ${limit} bytes, and there is no room for this one: delete some, or wait until they expire.`;
    return new Failure('DISK_LIMIT', detail, { members: { limit, used } });
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

/** A timer holds no more than 24 days. */
const LOOK_AGAIN_MS = 86_400_000;

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
  /** Bytes that it may have. */
  readonly maxBytes: number;
  /** Where it is once it is whole. */
  readonly #final: string;
  #folder: string;
  readonly #surroundings: Surroundings;
  #state: 'writing' | 'kept' | 'dropped' = 'writing';
  #bytes = 0;
  #voids = 0;
  #readers = 0;
  #expiresAt: number | undefined;
  #cancelExpiry: () => void = () => undefined;
  #removed = false;

  constructor(final: string, maxBytes: number, surroundings: Surroundings) {
    this.#final = final;
    this.#folder = `${final}.partial`;
    this.maxBytes = maxBytes;
    this.#surroundings = surroundings;
  }

  get state(): 'writing' | 'kept' | 'dropped' {
    return this.#state;
  }

  /** Another one while it is written: nothing that is not whole has its final name. */
  get folder(): string {
    return this.#folder;
  }

  /** Of the file, where it is one. */
  get path(): string {
    return join(this.#folder, 'result.duckdb');
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
    const refusal = this.#surroundings.take(bytes) ?? this.#appear(bytes);
    if (refusal !== undefined) {
      this.drop();
      return refusal;
    }
    this.#isKept(bytes, this.#surroundings.wallClock() + this.#surroundings.retention());
    return undefined;
  }

  /** At once, or not at all. */
  #appear(bytes: number): Failure | undefined {
    try {
      renameSync(this.#folder, this.#final);
      this.#folder = this.#final;
      return undefined;
    } catch (error) {
      this.#bytes = bytes;
      this.#surroundings.onFault(error);
      return toFailure(error);
    }
  }

  /** It was whole before. */
  adopted(bytes: number, expiresAt: number): void {
    this.#isKept(bytes, expiresAt);
  }

  /** It stays, whatever its time: this server is not there to see it. */
  forgetExpiry(): void {
    this.#cancelExpiry();
  }

  #isKept(bytes: number, expiresAt: number): void {
    this.#state = 'kept';
    this.#folder = this.#final;
    this.#bytes = bytes;
    this.#expiresAt = expiresAt;
    this.#expireLater();
  }

  #expireLater(): void {
    const { clock, wallClock } = this.#surroundings;
    const left = (this.#expiresAt as number) - wallClock();
    this.#cancelExpiry = clock.setTimer(Math.min(Math.max(0, left), LOOK_AGAIN_MS), () => {
      if (left <= LOOK_AGAIN_MS) this.drop();
      else this.#expireLater();
    });
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
