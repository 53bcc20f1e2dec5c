/**
 * The data pipe: result bytes from a worker, in frames of `seq` (u32), `length` (u32), and that many bytes, big
 * endian. Frames only say which statement the bytes belong to; that a result is complete is said by the verdict
 * on the control channel, which counts the bytes.
 */
import { ProtocolError } from './control-channel.ts';

const HEADER = 8;
/** No worker writes a longer frame: what claims to be one is garbage. */
export const MAX_FRAME = 1024 * 1024;

/** The frames that carry `bytes`, as chunks to write in order. */
export function* encodeFrames(seq: number, bytes: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += MAX_FRAME) {
    const piece = bytes.subarray(start, start + MAX_FRAME);
    const header = Buffer.allocUnsafe(HEADER);
    header.writeUInt32BE(seq, 0);
    header.writeUInt32BE(piece.length, 4);
    yield header;
    yield piece;
  }
}

/** Takes the pipe apart again, whatever the boundaries of the reads. */
export class FrameDecoder {
  readonly #onBytes: (seq: number, bytes: Uint8Array) => void;
  #header: Buffer = Buffer.alloc(0);
  #seq = 0;
  #left = 0;

  /** `onBytes` gets the pieces of each statement in order; they are views of what was pushed. */
  constructor(onBytes: (seq: number, bytes: Uint8Array) => void) {
    this.#onBytes = onBytes;
  }

  /** Throws {@link ProtocolError} for a frame that no worker would write. */
  push(chunk: Buffer): void {
    let bytes = chunk;
    while (bytes.length > 0) {
      if (this.#left === 0) {
        const missing = HEADER - this.#header.length;
        const part = bytes.subarray(0, missing);
        this.#header = this.#header.length === 0 ? part : Buffer.concat([this.#header, part]);
        bytes = bytes.subarray(missing);
        if (this.#header.length < HEADER) return;
        this.#seq = this.#header.readUInt32BE(0);
        this.#left = this.#header.readUInt32BE(4);
        this.#header = Buffer.alloc(0);
        if (this.#left > MAX_FRAME)
          throw new ProtocolError(`a frame of ${this.#left} bytes on the data pipe`);
      } else {
        const piece = bytes.subarray(0, this.#left);
        this.#left -= piece.length;
        bytes = bytes.subarray(piece.length);
        this.#onBytes(this.#seq, piece);
      }
    }
  }
}
