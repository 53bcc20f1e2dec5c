/** Replies in fewer bytes, for clients that take them so (RFC 9110, section 12.5.3). */
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import type { Context } from 'koa';
import type { Format } from './formats.ts';

export type ContentEncoding = 'zstd' | 'gzip';

/** Of nodes that have it (22.15, 23.8): its streams are those of gzip. */
interface Zstd {
  readonly createZstdCompress: () => zlib.Gzip;
  readonly zstdCompress: (bytes: Uint8Array, done: (error: Error | null, result: Buffer) => void) => void;
}
const { createZstdCompress, zstdCompress } = zlib as Partial<Zstd>;
/** zstd.h, ZSTD_EndDirective. */
const ZSTD_E_FLUSH = 1;

/** The better one first. */
const ENCODINGS: readonly ContentEncoding[] = createZstdCompress === undefined ? ['gzip'] : ['zstd', 'gzip'];

/** Text shrinks to a fraction; Parquet is compressed already, and Arrow is for those who want no work with it. */
const COMPRESSED: ReadonlySet<Format> = new Set<Format>(['json', 'ndjson', 'csv']);

/** A reply smaller than this one is in one packet or two either way. */
export const WORTH_BYTES = 4 * 1024;

/** The fastest level: it takes most of what there is to gain, and the time is the client's. */
const GZIP = { level: zlib.constants.Z_BEST_SPEED };

/** How the reply is to be encoded; undefined for as it is. */
export function chooseEncoding(ctx: Context, format: Format): ContentEncoding | undefined {
  if (ctx.req.headers['accept-encoding'] === undefined || !COMPRESSED.has(format)) return undefined;
  const chosen = ctx.acceptsEncodings(...ENCODINGS, 'identity');
  return ENCODINGS.find((encoding) => encoding === chosen);
}

/** Another client gets the same thing in another form: for caches, and whoever reads the headers. */
const VARY = { Vary: 'Accept, Accept-Encoding' } as const;

export function headersOf(encoding: ContentEncoding | undefined): Readonly<Record<string, string>> {
  return encoding === undefined ? {} : { 'Content-Encoding': encoding, ...VARY };
}

/** The whole of a reply at once. */
export async function compress(encoding: ContentEncoding, bytes: Uint8Array): Promise<Uint8Array> {
  const isZstd = encoding === 'zstd' && zstdCompress !== undefined;
  return await (isZstd ? promisify(zstdCompress)(bytes) : gzip(bytes, GZIP));
}

const gzip = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.gzip);

/** A stream of a reply: what is put in comes out at once, so that a slow result is seen as it comes. */
export class Compressor {
  readonly #stream: zlib.Gzip;
  readonly #flush: number;
  #failed = false;
  /** Whoever waits for something to be put; nobody waits any more once the stream is closed. */
  readonly #waiting = new Set<() => void>();

  /** `put` gets the encoded bytes. */
  constructor(encoding: ContentEncoding, put: (bytes: Uint8Array) => void) {
    const zstd = encoding === 'zstd' ? createZstdCompress?.() : undefined;
    this.#stream = zstd ?? zlib.createGzip(GZIP);
    this.#flush = zstd === undefined ? zlib.constants.Z_SYNC_FLUSH : ZSTD_E_FLUSH;
    this.#stream.on('data', put);
    // It fails of nothing but memory, or because it was destroyed: the reply then has no end.
    this.#stream.on('error', () => {
      this.#failed = true;
    });
    this.#stream.once('close', () => {
      for (const done of this.#waiting) done();
    });
  }

  /** Resolves when all that the bytes become has been put. */
  write(bytes: Uint8Array): Promise<void> {
    return this.#until((done) => {
      this.#stream.write(bytes);
      this.#stream.flush(this.#flush, done);
    });
  }

  /** Puts what ends the stream. Resolves with whether it did. */
  async end(): Promise<boolean> {
    await this.#until((done) => {
      this.#stream.once('end', done);
      this.#stream.end();
    });
    return !this.#failed;
  }

  /** Nothing more comes out: what is cut has no end. */
  destroy(): void {
    this.#stream.destroy();
  }

  #until(work: (done: () => void) => void): Promise<void> {
    if (this.#stream.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        resolve();
      };
      this.#waiting.add(done);
      work(done);
    });
  }
}
