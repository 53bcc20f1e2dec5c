/** The SQL that writes an export, and that which reads its files again. Pure. */
import type { DuckDBType } from '@duckdb/node-api';
import type { ExportSpec, ResultOutput } from '../protocol.ts';
import { globLiteral, identifier, literal } from './quote.ts';
import { copyOf } from './result-text.ts';
import type { Rewritten } from './statement.ts';

/** What a file is called by its format; DuckDB's own names follow it. */
const EXTENSIONS: Readonly<Record<ExportSpec['format'], string>> = {
  parquet: 'parquet',
  csv: 'csv',
  ndjson: 'ndjson',
};
const SUFFIXES: Readonly<Record<string, string>> = { gzip: '.gz', zstd: '.zst' };

/** With what its compression adds; that of Parquet is inside of the file. */
export function extensionOf({ format, compression }: Pick<ExportSpec, 'format' | 'compression'>): string {
  const suffix = format === 'parquet' ? '' : (SUFFIXES[compression] ?? '');
  return `${EXTENSIONS[format]}${suffix}`;
}

/** The COPY of a read into the folder: one file, or as many as the partitions or the size ask for. */
export function exportTo(
  spec: ExportSpec,
  text: string,
  columns: { readonly names: readonly string[]; readonly types: readonly DuckDBType[] },
): Rewritten | undefined {
  const extension = extensionOf(spec);
  const isOne = spec.partitionBy.length === 0 && spec.fileBytes === undefined;
  const compression =
    spec.compression === 'none' && spec.format === 'parquet' ? 'uncompressed' : spec.compression;
  const options = [
    `COMPRESSION ${compression}`,
    ...(isOne
      ? ['USE_TMP_FILE false']
      : [`FILENAME_PATTERN 'part-{i}'`, `FILE_EXTENSION ${literal(extension)}`]),
    ...(spec.fileBytes === undefined ? [] : [`FILE_SIZE_BYTES ${spec.fileBytes}`]),
    ...(spec.partitionBy.length === 0
      ? []
      : [`PARTITION_BY (${spec.partitionBy.map(identifier).join(', ')})`]),
  ];
  const target = isOne ? `${spec.folder}/data.${extension}` : spec.folder;
  return copyOf(target, outputOf(spec), options, text, columns);
}

function outputOf({ format, csv }: ExportSpec): ResultOutput {
  switch (format) {
    case 'parquet':
      return { format };
    case 'ndjson':
      return { format, rows: 'objects' };
    case 'csv':
      return { format, ...csv };
    default:
      return format satisfies never;
  }
}

/** How many rows the files have: `names` are those of the result's columns. */
export function rowsOf(spec: ExportSpec, names: readonly string[]): string {
  const { format, csv, compression, partitionBy } = spec;
  const files = literal(`${globLiteral(spec.folder)}/**/*.${extensionOf(spec)}`);
  const packed = compression === 'none' ? 'none' : compression;
  switch (format) {
    case 'parquet':
      return `SELECT sum(num_rows) FROM parquet_file_metadata(${files})`;
    case 'ndjson':
      return `SELECT count(*) FROM read_csv(${files}, columns={'line': 'VARCHAR'}, delim=chr(1), quote='', escape='', header=false, auto_detect=false, hive_partitioning=false, compression=${literal(packed)})`;
    case 'csv': {
      const folders = new Set(partitionBy.map((name) => name.toLowerCase()));
      const written = names.filter((name) => !folders.has(name.toLowerCase()));
      const columns = written.map((_, index) => `'c${index}': 'VARCHAR'`).join(', ');
      const dialect = `delim=${literal(csv.delimiter)}, quote='"', escape='"', header=${csv.header}, nullstr=${literal(csv.null)}`;
      return `SELECT count(*) FROM read_csv(${files}, columns={${columns}}, ${dialect}, auto_detect=false, hive_partitioning=false, compression=${literal(packed)})`;
    }
    default:
      return format satisfies never;
  }
}
