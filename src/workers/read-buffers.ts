/**
 * The buffers that results are read into. Whoever has done with one gives it back, and the next read fills it again: V8 counts
 * memory outside its heap towards full collections, and a result of a few gigabytes would cost one for each thirty megabytes of it.
 */

/** A pipe holds as much (pipe(7)). */
const BYTES = 64 * 1024;
/** Buffers that are kept for the next read. */
const KEPT = 32;

const free: ArrayBuffer[] = [];
const lent = new WeakSet<ArrayBufferLike>();

/** A buffer for one read. One that is never given back is collected as any other is. */
export function lend(): Buffer {
  const buffer = free.pop() ?? new ArrayBuffer(BYTES);
  lent.add(buffer);
  return Buffer.from(buffer);
}

/** Takes back what a read has filled, or a part of it, once nobody looks at any of it any more. Anything else is left alone. */
export function giveBack({ buffer }: Uint8Array): void {
  if (lent.delete(buffer) && free.length < KEPT) free.push(buffer as ArrayBuffer);
}
