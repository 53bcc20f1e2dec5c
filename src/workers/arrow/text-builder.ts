/** Text and bytes of any length: offsets, and all of it in one piece behind them. */
import { type Data, type DataType, makeData } from 'apache-arrow';
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

/** What is expected of a value. */
const TYPICAL_BYTES = 16;

export class TextBuilder implements ColumnBuilder {
  readonly #type: DataType;
  readonly #nulls: Bitmap;
  readonly #bytes: GrowingBytes;
  #offsets: Int32Array;
  #rows = 0;

  constructor(type: DataType, capacity: number) {
    this.#type = type;
    this.#nulls = new Bitmap(capacity);
    this.#bytes = new GrowingBytes(capacity * TYPICAL_BYTES);
    this.#offsets = new Int32Array(capacity + 1);
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
    const larger = new Int32Array(Math.max(needed, this.#offsets.length * 2));
    larger.set(this.#offsets);
    this.#offsets = larger;
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
    const entries = data === null ? undefined : new DataView(data.buffer, data.byteOffset, data.byteLength);
    const memory = new Memory(heap);
    for (let index = 0; index < rows.count; index += 1) {
      const row = rowAt(rows, index);
      if (entries !== undefined && data !== null && isValid(validity, row)) {
        const at = row * TEXT_ENTRY_BYTES;
        const length = entries.getUint32(at, true);
        if (length <= INLINE_BYTES) this.#copyFew(data, at + 4, length);
        else this.#bytes.append(memory.read(addressIn(entries, row), length));
      }
      this.#endRow();
    }
  }

  /** A loop is faster than a call for so few. */
  #copyFew(from: Uint8Array, start: number, length: number): void {
    const { into, at } = this.#bytes.extend(length);
    for (let index = 0; index < length; index += 1) into[at + index] = from[start + index] as number;
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
