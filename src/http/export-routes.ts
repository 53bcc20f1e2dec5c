/** `/v1/exports`: results that become files (src/exports). */
import { z } from 'zod';
import { size } from '../config/units.ts';
import { shuttingDown } from '../failures.ts';
import type { ExportSpec } from '../workers/protocol.ts';
import { exportDeletedDocument, exportDocument, exportsDocument } from './documents.ts';
import { type Exchange, replyJson } from './exchange.ts';
import { invalidRequest, type RequestError, toRequestErrors } from './invalid-request.ts';
import { JSON_TEXTS, readQueryFields, SQL_TYPES } from './query-fields.ts';
import { QUERY_FAILURES } from './query-operations.ts';
import { csvSchema, querySchema, unknownSources } from './query-request.ts';
import { NO_SOURCES } from './query-sources.ts';
import { type RouteTable, refuseQueryString } from './routes.ts';
import type { ExportRequest, HttpServices } from './services.ts';

const FORMATS = ['parquet', 'csv', 'ndjson'] as const;
const COMPRESSIONS: Readonly<Record<(typeof FORMATS)[number], readonly ExportSpec['compression'][]>> = {
  // The first one is the default.
  parquet: ['zstd', 'snappy', 'gzip', 'lz4', 'none'],
  csv: ['none', 'gzip', 'zstd'],
  ndjson: ['none', 'gzip', 'zstd'],
};
const MAX_PARTITIONS = 8;
/** A smaller one makes more files than anybody wants. */
const MIN_FILE_BYTES = 100_000;

/** Read as it stands by everybody: nothing that is a glob, an escape, or leads upwards. */
const PREFIX = /^(?!\.{1,2}(?:\/|$))[A-Za-z0-9._=-]+(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._=-]+)*\/?$/;
const A_PREFIX = 'expected names of letters, digits and . _ = - with / between them';
const A_COLUMN = `expected the names of up to ${MAX_PARTITIONS} columns`;
const { sql, params, sources, timeout_ms, queue_timeout_ms, memory_limit, threads, tags } = querySchema.shape;

const exportSchema = z.strictObject({
  ...{ sql, params, sources, timeout_ms, queue_timeout_ms, memory_limit, threads, tags },
  format: z.enum(FORMATS, { error: `expected one of ${FORMATS.join(', ')}` }).default('parquet'),
  compression: z
    .enum(['zstd', 'snappy', 'gzip', 'lz4', 'none'], { error: 'expected zstd, snappy, gzip, lz4 or none' })
    .optional(),
  partition_by: z
    .array(z.string({ error: A_COLUMN }).min(1, { error: A_COLUMN }), { error: A_COLUMN })
    .max(MAX_PARTITIONS, { error: A_COLUMN })
    .optional(),
  file_size: size()
    .refine((bytes) => bytes >= MIN_FILE_BYTES, { error: 'expected 100KB or more' })
    .optional(),
  csv: csvSchema.optional(),
  destination: z
    .discriminatedUnion(
      'kind',
      [
        z.strictObject({ kind: z.literal('local') }),
        z.strictObject({
          kind: z.literal('s3'),
          source: z.string({ error: 'expected the alias of a source of kind s3' }),
          prefix: z.string({ error: A_PREFIX }).regex(PREFIX, { error: A_PREFIX }).optional(),
        }),
      ],
      { error: 'expected {"kind": "local"} or {"kind": "s3", "source": "...", "prefix": "..."}' },
    )
    .optional(),
});

export function addExportRoutes(
  routes: RouteTable,
  { exports: service, sources: known, operations, limits }: HttpServices,
): void {
  routes.add(
    '/v1/exports',
    {
      GET(exchange) {
        refuseQueryString(exchange);
        replyJson(exchange, { exports: service.list(exchange.principal) });
      },
      async POST(exchange) {
        if (operations.isDraining()) throw shuttingDown({ Connection: 'close' });
        const request = await readExport(exchange, known, limits.maxBodyBytes);
        const view = await service.create(request, exchange.principal);
        exchange.ctx.set('Location', `/v1/exports/${view.export_id}`);
        replyJson(exchange, view, 202);
      },
    },
    {
      operations: {
        GET: {
          summary: 'Exports, newest first',
          description: 'Its own; all of them for operators.',
          replies: { 200: { description: 'All of them', schema: exportsDocument } },
        },
        POST: {
          summary: 'Have the result of a query become files',
          query: exportSchema.omit({ sql: true }),
          jsonQuery: JSON_TEXTS,
          body: exportSchema.meta({ id: 'ExportRequest' }),
          textBodies: [...SQL_TYPES],
          replies: {
            202: {
              description: 'It waits or runs',
              schema: exportDocument,
              headers: { Location: 'The export.' },
            },
          },
          failures: QUERY_FAILURES,
        },
      },
    },
  );

  routes.add(
    '/v1/exports/{id}',
    {
      GET(exchange) {
        refuseQueryString(exchange);
        replyJson(exchange, service.get(idOf(exchange), exchange.principal));
      },
      async DELETE(exchange) {
        refuseQueryString(exchange);
        replyJson(exchange, await service.delete(idOf(exchange), exchange.principal));
      },
    },
    {
      operations: {
        GET: {
          summary: 'An export',
          replies: { 200: { description: 'It', schema: exportDocument } },
          failures: ['NOT_FOUND'],
        },
        DELETE: {
          summary: 'Stop an export, and delete its files',
          replies: { 200: { description: 'What came of it', schema: exportDeletedDocument } },
          failures: ['NOT_FOUND', 'SHUTTING_DOWN'],
        },
      },
    },
  );
}

function idOf({ parameters }: Exchange): string {
  return parameters.id ?? '';
}

async function readExport(
  exchange: Exchange,
  known: HttpServices['sources'],
  maxBodyBytes: number,
): Promise<ExportRequest> {
  const fields = await readQueryFields(exchange, maxBodyBytes);
  const result = exportSchema.safeParse(fields.values);
  const errors = [...fields.errors, ...unknownSources(fields.values, known, exchange.principal)];
  if (!result.success) errors.push(...toRequestErrors(result.error, Object.keys(exportSchema.shape)));
  else errors.push(...contradictions(result.data));
  if (!result.success || errors.length > 0) throw invalidRequest(errors);
  const { data } = result;
  return {
    client: exchange.ctx.req.socket.remoteAddress,
    sql: data.sql,
    params: data.params,
    ...(data.sources ?? NO_SOURCES),
    timeoutMs: data.timeout_ms,
    queueTimeoutMs: data.queue_timeout_ms,
    memoryLimit: data.memory_limit,
    threads: data.threads,
    tags: data.tags ?? {},
    files: {
      format: data.format,
      compression: data.compression ?? (COMPRESSIONS[data.format][0] as ExportSpec['compression']),
      partitionBy: data.partition_by ?? [],
      ...(data.file_size === undefined ? {} : { fileBytes: data.file_size }),
      csv: {
        header: data.csv?.header ?? true,
        delimiter: data.csv?.delimiter ?? ',',
        null: data.csv?.null ?? '',
      },
    },
    destination:
      data.destination?.kind === 's3'
        ? { ...data.destination, prefix: (data.destination.prefix ?? '').replace(/\/+$/, '') }
        : { kind: 'local' },
  };
}

function contradictions(data: z.output<typeof exportSchema>): RequestError[] {
  const { format, compression, partition_by = [], file_size, csv } = data;
  const errors: RequestError[] = [];
  if (compression !== undefined && !COMPRESSIONS[format].includes(compression))
    errors.push({
      path: 'compression',
      message: `expected one of ${COMPRESSIONS[format].join(', ')} for ${format}`,
    });
  if (csv !== undefined && format !== 'csv')
    errors.push({ path: 'csv', message: `is for csv; the format is ${format}` });
  if (partition_by.length > 0 && format === 'ndjson')
    errors.push({
      path: 'partition_by',
      message: 'is for parquet and csv; DuckDB writes no partitions of JSON',
    });
  if (partition_by.length > 0 && file_size !== undefined)
    errors.push({
      path: 'file_size',
      message: 'is of no use with partition_by: each partition has its own files',
    });
  if (new Set(partition_by.map((name) => name.toLowerCase())).size < partition_by.length)
    errors.push({ path: 'partition_by', message: 'names a column twice' });
  return errors;
}
