/** Text and bytes of any length: offsets, and all of it in one piece behind them. */
import { type Data, type DataType, makeData } from 'apache-arrow';
import type { Arena } from './arena.ts';
import type { ColumnBuilder } from './column-builders.ts';
import { Bitmap, GrowingBytes } from './growing-bytes.ts';
import {
  addressIn,
  type HeapRun,
  INLINE_BYTES,
  isValid,
  type RawVector,
  TEXT_ENTRY_BYTES,
} from './raw-vector.ts';
import { type Rows, rowAt } from './rows.ts';

/** Words of an entry, the first of which is the length. */
const ENTRY_WORDS = TEXT_ENTRY_BYTES / Uint32Array.BYTES_PER_ELEMENT;

/** What is expected of a value. */
const TYPICAL_BYTES = 16;

export class TextBuilder implements ColumnBuilder {
  readonly #type: DataType;
  readonly #arena: Arena;
  readonly #nulls: Bitmap;
  readonly #bytes: GrowingBytes;
  #offsets: Int32Array;
  #rows = 0;

  constructor(type: DataType, capacity: number, arena: Arena) {
    this.#type = type;
    this.#arena = arena;
    this.#nulls = new Bitmap(capacity, arena);
    this.#bytes = new GrowingBytes(capacity * TYPICAL_BYTES, arena);
    this.#offsets = this.#takeOffsets(capacity + 1);
  }

  append(vector: RawVector, rows: Rows): void {
    this.#makeRoom(rows.count);
    if (vector.texts !== null) this.#appendTexts(vector.texts, vector.validity, rows);
    else this.#appendEntries(vector, rows);
  }

  finish(): Data {
    const nulls = this.#nulls;
    return makeData({
      type: this.#type,
      valueOffsets: this.#offsets.subarray(0, this.#rows + 1),
      data: this.#bytes.take(),
      length: this.#rows,
      ...(nulls.hasZeros ? { nullCount: -1, nullBitmap: nulls.take() } : { nullCount: 0 }),
    } as never);
  }

  #makeRoom(rows: number): void {
    const needed = this.#rows + rows + 1;
    if (needed <= this.#offsets.length) return;
    const larger = this.#takeOffsets(Math.max(needed, this.#offsets.length * 2));
    larger.set(this.#offsets);
    this.#offsets = larger;
  }

  #takeOffsets(count: number): Int32Array<ArrayBuffer> {
    return new Int32Array(this.#arena.take(count * Int32Array.BYTES_PER_ELEMENT).buffer);
  }

  #appendTexts(texts: readonly (string | null)[], validity: Uint8Array | null, rows: Rows): void {
    const textAt = (index: number): string | null => {
      const row = rowAt(rows, index);
      return isValid(validity, row) ? (texts[row] ?? null) : null;
    };
    this.#nulls.append(rows.count, (index) => textAt(index) !== null);
    for (let index = 0; index < rows.count; index += 1) {
      const text = textAt(index) ?? '';
      if (text !== '') this.#bytes.append(Buffer.from(text));
      this.#endRow();
    }
  }

  #appendEntries({ validity, data, heap }: RawVector, rows: Rows): void {
    this.#nulls.appendBits(validity, rows);
    const offsets = this.#offsets;
    const first = this.#rows;
    this.#rows += rows.count;
    if (data === null) {
      offsets.fill(this.#bytes.length, first + 1, this.#rows + 1);
      return;
    }
    const words = new Uint32Array(
      data.buffer,
      data.byteOffset,
      data.byteLength / Uint32Array.BYTES_PER_ELEMENT,
    );
    let end = this.#bytes.length;
    for (let index = 0; index < rows.count; index += 1) {
      const row = rowAt(rows, index);
      if (isValid(validity, row)) end += words[row * ENTRY_WORDS] as number;
      offsets[first + index + 1] = end;
    }
    // Short texts are copied with all the twelve bytes that they may have: what is behind them is written after them.
    const { into, at } = this.#bytes.extend(end - this.#bytes.length, INLINE_BYTES);
    const target = new DataView(into.buffer, into.byteOffset, into.byteLength);
    const entries = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const memory = new Memory(heap);
    let to = at;
    for (let index = 0; index < rows.count; index += 1) {
      const next = offsets[first + index + 1] as number;
      if (next === to) continue;
      const row = rowAt(rows, index);
      if (next - to > INLINE_BYTES) into.set(memory.read(addressIn(entries, row), next - to), to);
      else {
        const word = row * ENTRY_WORDS;
        target.setUint32(to, words[word + 1] as number, true);
        target.setUint32(to + 4, words[word + 2] as number, true);
        target.setUint32(to + 8, words[word + 3] as number, true);
      }
      to = next;
    }
  }

  #endRow(): void {
    this.#rows += 1;
    this.#offsets[this.#rows] = this.#bytes.length;
  }
}

/** What has been copied of DuckDB's memory, by its addresses there. */
class Memory {
  readonly #runs: readonly HeapRun[];
  /** Where the last one was: rows that follow each other mostly lie so. */
  #latest = 0;

  constructor(runs: readonly HeapRun[]) {
    this.#runs = runs;
  }

  read(address: number, length: number): Uint8Array {
    let run = this.#runs[this.#latest];
    if (run === undefined || address < run.address || address >= run.address + run.bytes.length) {
      this.#latest = this.#find(address);
      run = this.#runs[this.#latest] as HeapRun;
    }
    const start = address - run.address;
    return run.bytes.subarray(start, start + length);
  }

  #find(address: number): number {
    let low = 0;
    let high = this.#runs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#runs[middle] as HeapRun).address <= address) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
