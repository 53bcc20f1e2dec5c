/**
 * Where a result is cut so that its Parquet file has at most so many bytes. How large a file becomes is known when it is written: so the
 * rows are a table by then, of which DuckDB writes some to nowhere, and says how large that was.
 */
import type { DuckDBConnection } from '@duckdb/node-api';

/** Where nothing that is written stays; an instance has to allow it. */
export const NOWHERE = '/dev/null';

/** Rounds of the search; each writes a file. What is left between the two bounds by then is not tried. */
const MOST_ROUNDS = 24;

/** Bytes of the Parquet file of a read. */
export async function parquetBytes(connection: DuckDBConnection, read: string): Promise<number> {
  const options = 'FORMAT parquet, RETURN_STATS, USE_TMP_FILE false';
  const stats = await connection.runAndReadAll(`COPY (${read}) TO '${NOWHERE}' (${options})`);
  return Number(stats.getRowObjects()[0]?.file_size_bytes);
}

/**
 * The most of the first `rows` rows whose size is within `limit`; undefined where none at all is too much. `sizeOf` does not fall when
 * there are more of them. Where it is a straight line this takes two or three rounds, and never more than {@link MOST_ROUNDS}.
 */
export async function mostWithin(
  limit: number,
  rows: number,
  sizeOf: (rows: number) => Promise<number>,
): Promise<number | undefined> {
  let fits = { rows: 0, size: await sizeOf(0) };
  if (fits.size > limit) return undefined;
  let passes = { rows, size: await sizeOf(rows) };
  if (passes.size <= limit) return rows;
  for (let round = 0; round < MOST_ROUNDS && passes.rows - fits.rows > 1; round += 1) {
    const slope = (limit - fits.size) / (passes.size - fits.size);
    // Every other time by halves: a curve may keep one of the bounds where it is.
    const share = round % 2 === 1 ? 0.5 : slope;
    const between = fits.rows + Math.round((passes.rows - fits.rows) * share);
    const tried = Math.min(passes.rows - 1, Math.max(fits.rows + 1, between));
    const size = await sizeOf(tried);
    if (size <= limit) fits = { rows: tried, size };
    else passes = { rows: tried, size };
  }
  return fits.rows;
}
