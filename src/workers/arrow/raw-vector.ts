/**
 * A vector of DuckDB's as plain data: copies of its buffers, which can be moved to another thread. Their layout is that of
 * duckdb.h ("Vector Interface").
 */

export interface RawVector {
  readonly rows: number;
  /** A bit a row, the lowest first; null when all are valid. */
  readonly validity: Uint8Array | null;
  /** The values, or for text the entries of sixteen bytes. */
  readonly data: Uint8Array | null;
  /** Where the entries of text point to, in the order of the addresses. */
  readonly heap: readonly HeapRun[];
  /** Texts that were made of the values. */
  readonly texts: readonly (string | null)[] | null;
  /** LIST, MAP and ARRAY: the vector of all elements. STRUCT: the members. UNION: the tags, then the members. */
  readonly children: readonly RawVector[];
}

/** Memory that text is in. */
export interface HeapRun {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** Bytes of an entry of text: its length, and itself if it has no more than {@link INLINE_BYTES}, or where it is. */
export const TEXT_ENTRY_BYTES = 16;
export const INLINE_BYTES = 12;

export function isValid(validity: Uint8Array | null, row: number): boolean {
  return validity === null || (((validity[row >> 3] as number) >> (row & 7)) & 1) === 1;
}

/**
 * The vector of what is inside rows, `size` elements each, with nulls wherever its row is one: DuckDB leaves there whatever was in
 * its memory, which is nobody's to see.
 */
export function hiddenWith(rows: Uint8Array | null, size: number, inside: RawVector): RawVector {
  if (rows === null) return inside;
  const validity = new Uint8Array((inside.rows + 7) >> 3);
  for (let element = 0; element < inside.rows; element += 1) {
    if (isValid(rows, Math.floor(element / size)) && isValid(inside.validity, element))
      validity[element >> 3] = (validity[element >> 3] as number) | (1 << (element & 7));
  }
  return { ...inside, validity };
}

/** The address in the entry of text at `row`; 48 bits are all that processors use of 64. */
export function addressIn(entries: DataView, row: number): number {
  const at = row * TEXT_ENTRY_BYTES + 8;
  return entries.getUint32(at, true) + entries.getUint32(at + 4, true) * 2 ** 32;
}
