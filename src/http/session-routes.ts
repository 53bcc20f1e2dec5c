/**
 * `/v1/sessions`: workspaces that outlive a request. Queries run in one by the field `session` (query-routes.ts).
 */
import { z } from 'zod';
import { MAX_DURATION_MS, size } from '../config/units.ts';
import { shuttingDown } from '../failures.ts';
import { sessionDocument, sessionEndedDocument, sessionsDocument } from './documents.ts';
import { type Exchange, replyJson } from './exchange.ts';
import { invalidRequest, toRequestErrors } from './invalid-request.ts';
import { parseJson } from './json.ts';
import { readBody } from './request-body.ts';
import { type RouteTable, refuseQueryString } from './routes.ts';
import type { HttpServices } from './services.ts';

const MAX_BODY = 100_000;

const GONE = ['NOT_FOUND', 'SESSION_EXPIRED'] as const;
const UNAVAILABLE = ['OVERLOADED', 'POOL_DOWN', 'SHUTTING_DOWN'] as const;

const DURATION = `expected a whole number from 1 to ${MAX_DURATION_MS}`;
const duration = z
  .int({ error: DURATION })
  .min(1, { error: DURATION })
  .max(MAX_DURATION_MS, { error: DURATION });
const A_NAME = 'expected a text of at most 256 characters';
const THREADS = 'expected a whole number from 1 to 64';

const patchSchema = z.strictObject({
  sources: z.array(z.string(), { error: 'expected an array of source aliases' }).max(1_000).optional(),
  ttl_ms: duration.optional(),
  idle_timeout_ms: duration.optional(),
});
const openSchema = patchSchema.extend({
  name: z.string({ error: A_NAME }).max(256, { error: A_NAME }).optional(),
  memory_limit: size().optional(),
  disk_limit: size().optional(),
  threads: z.int({ error: THREADS }).min(1, { error: THREADS }).max(64, { error: THREADS }).optional(),
});

export function addSessionRoutes(routes: RouteTable, { sessions, operations }: HttpServices): void {
  routes.add(
    '/v1/sessions',
    {
      async GET(exchange) {
        refuseQueryString(exchange);
        replyJson(exchange, { sessions: await sessions.list(exchange.principal) });
      },
      async POST(exchange) {
        refuseQueryString(exchange);
        const fields = await read(exchange, openSchema);
        if (operations.isDraining()) throw shuttingDown({ Connection: 'close' });
        const view = await sessions.open(
          {
            sources: fields.sources,
            ttlMs: fields.ttl_ms,
            idleTimeoutMs: fields.idle_timeout_ms,
            name: fields.name,
            memoryLimit: fields.memory_limit,
            diskLimit: fields.disk_limit,
            threads: fields.threads,
          },
          exchange.principal,
        );
        exchange.ctx.set('Location', `/v1/sessions/${view.session_id}`);
        replyJson(exchange, view, 201);
      },
    },
    {
      operations: {
        GET: {
          summary: 'Sessions',
          description: 'Its own; all of them for operators.',
          replies: { 200: { description: 'All of them', schema: sessionsDocument } },
        },
        POST: {
          summary: 'Open a session',
          body: openSchema,
          bodyOptional: true,
          replies: {
            201: {
              description: 'The session',
              schema: sessionDocument,
              headers: { Location: 'The session.' },
            },
          },
          failures: [
            ...UNAVAILABLE,
            'SESSION_EXPIRED',
            'SOURCE_UNAVAILABLE',
            'WORKER_CRASHED',
            'SQL_ERROR',
            'NOT_FOUND',
            'MEMORY_LIMIT',
            'DISK_LIMIT',
            'QUOTA_EXCEEDED',
          ],
        },
      },
    },
  );

  routes.add(
    '/v1/sessions/{id}',
    {
      async GET(exchange) {
        refuseQueryString(exchange);
        replyJson(exchange, await sessions.get(idOf(exchange), exchange.principal));
      },
      async PATCH(exchange) {
        refuseQueryString(exchange);
        const { sources, ttl_ms, idle_timeout_ms } = await read(exchange, patchSchema);
        const patch = { sources, ttlMs: ttl_ms, idleTimeoutMs: idle_timeout_ms };
        replyJson(exchange, await sessions.change(idOf(exchange), patch, exchange.principal));
      },
      async DELETE(exchange) {
        refuseQueryString(exchange);
        await sessions.close(idOf(exchange), exchange.principal);
        replyJson(exchange, { session_id: idOf(exchange), state: 'ended' });
      },
    },
    {
      operations: {
        GET: {
          summary: 'A session',
          replies: { 200: { description: 'It', schema: sessionDocument } },
          failures: GONE,
        },
        PATCH: {
          summary: 'Extend a session, or change its sources',
          body: patchSchema,
          bodyOptional: true,
          replies: { 200: { description: 'The session as it is now', schema: sessionDocument } },
          failures: [
            ...GONE,
            ...UNAVAILABLE,
            'SESSION_BUSY',
            'SOURCE_UNAVAILABLE',
            'WORKER_CRASHED',
            'QUERY_CANCELLED',
            'SQL_ERROR',
            'MEMORY_LIMIT',
            'DISK_LIMIT',
            'QUERY_TIMEOUT',
            'QUEUE_TIMEOUT',
          ],
        },
        DELETE: {
          summary: 'End a session',
          description: 'Answered once nothing is left of it.',
          replies: { 200: { description: 'It has ended', schema: sessionEndedDocument } },
          failures: GONE,
        },
      },
    },
  );
}

function idOf({ parameters }: Exchange): string {
  return parameters.id ?? '';
}

async function read<Schema extends z.ZodObject>(
  exchange: Exchange,
  schema: Schema,
): Promise<z.output<Schema>> {
  const text = (await readBody(exchange, MAX_BODY)).toString();
  const result = schema.safeParse(text.trim() === '' ? {} : parseJson(text));
  if (!result.success) throw invalidRequest(toRequestErrors(result.error, Object.keys(schema.shape)));
  return result.data;
}
