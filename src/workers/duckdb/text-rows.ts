/** Rows whose texts DuckDB has made already (result-text.ts), as CSV or NDJSON: cut at a row, and counted. */
import type { DuckDBResult } from '@duckdb/node-api';
import type { ResultOutput } from '../protocol.ts';
import { type ChunkSource, chunksOf } from './chunks.ts';

export interface RowLimits {
  readonly rowLimit?: number | undefined;
  /** Bytes of rows; a header is none. */
  readonly byteLimit?: number | undefined;
}

export interface RowSummary {
  readonly rows: number;
  readonly truncated: boolean;
}

type Cells = readonly (string | null)[];

/** Writes the whole result, or as much of it as the limits allow. `names` are those of the header. */
export async function writeTextRows(
  result: DuckDBResult,
  output: Extract<ResultOutput, { format: 'csv' | 'ndjson' }>,
  names: readonly string[],
  limits: RowLimits,
  source: ChunkSource & { readonly write: (bytes: Uint8Array) => Promise<void> },
): Promise<RowSummary> {
  const chunks = chunksOf(result, source);
  const line = output.format === 'csv' ? csvLine(output) : jsonLine;
  const rowLimit = limits.rowLimit ?? Number.POSITIVE_INFINITY;
  const byteLimit = limits.byteLimit ?? Number.POSITIVE_INFINITY;
  let rows = 0;
  let bytes = 0;
  try {
    if (output.format === 'csv' && output.header) await source.write(Buffer.from(csvLine(output)(names)));
    for (let chunk = await chunks.next(); chunk !== null; chunk = await chunks.next()) {
      source.checkpoint();
      const columns = chunk.getColumns() as (string | null)[][];
      let text = '';
      let fits = true;
      for (let row = 0; row < chunk.rowCount && fits; row += 1) {
        const next = line(columns.map((column) => column[row] ?? null));
        const size = Buffer.byteLength(next);
        fits = rows < rowLimit && bytes + size <= byteLimit;
        if (!fits) break;
        text += next;
        bytes += size;
        rows += 1;
      }
      if (text !== '') await source.write(Buffer.from(text));
      if (!fits) return { rows, truncated: true };
    }
    return { rows, truncated: false };
  } finally {
    await chunks.end();
  }
}

/** As COPY writes it: what is NULL, or could be read as something else, decides about quotes. */
function csvLine({ delimiter, null: nullText }: Extract<ResultOutput, { format: 'csv' }>) {
  // What could begin a comment is quoted too.
  const special = new Set([delimiter, '"', '#', '\n', '\r']);
  const cell = (text: string | null): string => {
    if (text === null) return nullText;
    if (text !== nullText && ![...special].some((character) => text.includes(character))) return text;
    return `"${text.replaceAll('"', '""')}"`;
  };
  return (cells: Cells): string => `${cells.map(cell).join(delimiter)}\n`;
}

/** DuckDB writes numbers that are none as `NaN` and `Infinity`, which is no JSON. */
const NO_JSON = /"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g;

function jsonLine([text]: Cells): string {
  const row = text ?? 'null';
  if (!row.includes('NaN') && !row.includes('Infinity')) return `${row}\n`;
  return `${row.replace(NO_JSON, (token) => (token.startsWith('"') ? token : `"${token}"`))}\n`;
}
