/** Where the files of an export go: a folder of this server, or one of a bucket. */
import type { ResultSink } from '../actors/job.ts';
import { Failure } from '../failures.ts';
import type { StoredResult } from '../results/result-store.ts';
import { filesBelow } from '../workers/folder-size.ts';
import type { Bucket, BucketFile } from './bucket.ts';
import { type Manifest, writeManifest } from './manifest.ts';

export interface Place {
  /** What the worker writes to: a path, or the URL of a bucket's folder. */
  readonly folder: string;
  /** Bytes that it may have. */
  readonly maxBytes: number;
  readonly sink: ResultSink;
  /** Another attempt may begin with the same query, in an empty folder. Otherwise {@link clear} comes first. */
  readonly startsAnew: boolean;
  /** Milliseconds since the epoch; of files that are kept here. */
  readonly expiresAt: number | undefined;
  /** False where nothing is there any more. */
  readonly isThere: boolean;
  files(): Promise<readonly BucketFile[]>;
  /** From now on they are whole. Rejects with why they are not kept. */
  commit(manifest: Manifest): Promise<void>;
  /** Removes what an attempt has left. */
  clear(): Promise<void>;
  /** Whether files of ours have gone. */
  remove(): boolean;
  /** Nothing more is written or cleared. */
  close(): void;
}

/** Written under another name, which it loses once it is whole. */
export class LocalPlace implements Place {
  readonly startsAnew = true;
  readonly sink: StoredResult;

  constructor(stored: StoredResult) {
    this.sink = stored;
  }

  get folder(): string {
    return this.sink.folder;
  }

  get maxBytes(): number {
    return this.sink.maxBytes;
  }

  get expiresAt(): number | undefined {
    return this.sink.expiresAt;
  }

  get isThere(): boolean {
    return this.sink.state === 'kept';
  }

  files(): Promise<readonly BucketFile[]> {
    return filesBelow(this.sink.folder);
  }

  async commit(manifest: Manifest): Promise<void> {
    writeManifest(this.sink.folder, manifest);
    const refusal = this.sink.keep(manifest.bytes);
    if (refusal !== undefined) throw refusal;
  }

  async clear(): Promise<void> {
    this.sink.drop();
  }

  remove(): boolean {
    const wasKept = this.isThere;
    this.sink.drop();
    return wasKept;
  }

  close(): void {}
}

/** Says that all files before it are whole, as Hadoop's committers do. */
const MARKER = '_SUCCESS';

/**
 * Files of a bucket appear one by one, each whole (S3, multipart upload); that all of them are there is said by the object
 * `_SUCCESS`, which comes last. They are the bucket's owner's from then on.
 */
export class BucketPlace implements Place {
  readonly startsAnew = false;
  readonly maxBytes = Number.MAX_SAFE_INTEGER;
  readonly expiresAt = undefined;
  readonly folder: string;
  /** What an attempt has left has to be cleared before the next: nobody but the exports themselves begins that. */
  readonly sink: ResultSink = {
    committed: true,
    delivered: 0,
    write: () => undefined,
    reset: () => undefined,
    discard: () => undefined,
  };
  readonly #bucket: Bucket;
  readonly #path: string;
  #isWhole = false;

  /** `path` is below the source's prefix. */
  constructor(bucket: Bucket, path: string) {
    this.#bucket = bucket;
    this.#path = path;
    this.folder = bucket.urlOf(path);
  }

  get isThere(): boolean {
    return this.#isWhole;
  }

  async files(): Promise<readonly BucketFile[]> {
    return await this.#asked(() => this.#bucket.list(this.#path));
  }

  async commit(): Promise<void> {
    await this.#asked(() => this.#bucket.put(this.#path, MARKER, ''));
    this.#isWhole = true;
  }

  async clear(): Promise<void> {
    await this.#asked(() => this.#bucket.clear(this.#path));
  }

  remove(): boolean {
    return false;
  }

  close(): void {
    this.#bucket.close();
  }

  async #asked<Value>(work: () => Promise<Value>): Promise<Value> {
    try {
      return await work();
    } catch (error) {
      const why = error instanceof Error ? `${error.name}: ${error.message}` : 'no answer';
      throw new Failure('SOURCE_UNAVAILABLE', `The bucket of ${this.folder} cannot be used: ${why}`);
    }
  }
}
