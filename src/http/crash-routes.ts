/**
 * `/v1/crashes`: what is known of the workers that died. `/v1/quarantine`: the statements that are held back for it.
 */
import { z } from 'zod';
import { isCrashId } from '../crashes/crash-id.ts';
import type { Quarantined } from '../crashes/quarantine.ts';
import { Failure } from '../failures.ts';
import { crashDocument, crashesDocument, liftedDocument, quarantineDocument } from './documents.ts';
import { replyJson } from './exchange.ts';
import { invalidRequest } from './invalid-request.ts';
import { pageLimit, readParameters } from './parameters.ts';
import { type RouteTable, refuseQueryString } from './routes.ts';
import type { CrashService } from './services.ts';

const FOR_OPERATORS = { access: 'operator' } as const;

export function addCrashRoutes(routes: RouteTable, crashes: CrashService): void {
  routes.add(
    '/v1/crashes',
    {
      GET(exchange) {
        const { cursor, pool, cause, principal, fingerprint, limit } = readParameters(
          exchange.ctx.querystring,
          filterSchema,
        );
        const before = cursor === undefined ? undefined : idInCursor(cursor);
        const page = crashes.list({ before, pool, cause, principal, fingerprint, limit });
        const next = page.next === undefined ? null : Buffer.from(page.next).toString('base64url');
        replyJson(exchange, { crashes: page.crashes, next });
      },
    },
    {
      ...FOR_OPERATORS,
      operations: {
        GET: {
          summary: 'Workers that died, newest first',
          query: filterSchema,
          replies: { 200: { description: 'A page of them', schema: crashesDocument } },
        },
      },
    },
  );

  routes.add(
    '/v1/crashes/{id}',
    {
      async GET(exchange) {
        refuseQueryString(exchange);
        const crashId = exchange.parameters.id ?? '';
        const report = await crashes.get(crashId);
        if (report === undefined) {
          throw new Failure('NOT_FOUND', `There is no crash ${JSON.stringify(crashId)}, or not any more.`);
        }
        replyJson(exchange, report);
      },
    },
    {
      ...FOR_OPERATORS,
      operations: {
        GET: {
          summary: 'All that is known of a crash',
          replies: { 200: { description: 'Its report', schema: crashDocument } },
          failures: ['NOT_FOUND'],
        },
      },
    },
  );

  routes.add(
    '/v1/quarantine',
    {
      GET(exchange) {
        refuseQueryString(exchange);
        replyJson(exchange, { quarantine: crashes.quarantined().map(toWire) });
      },
      DELETE(exchange) {
        const { fingerprint } = readParameters(exchange.ctx.querystring, liftSchema);
        const lifted = crashes.lift(fingerprint === undefined ? 'all' : { fingerprint });
        if (fingerprint !== undefined && lifted === 0) {
          const named = JSON.stringify(fingerprint);
          throw new Failure('NOT_FOUND', `No statement with the fingerprint ${named} is quarantined.`);
        }
        replyJson(exchange, { lifted });
      },
    },
    {
      ...FOR_OPERATORS,
      operations: {
        GET: {
          summary: 'Statements that are held back',
          replies: { 200: { description: 'All of them', schema: quarantineDocument } },
        },
        DELETE: {
          summary: 'Let one of them go, or all',
          query: liftSchema,
          replies: { 200: { description: 'How many', schema: liftedDocument } },
          failures: ['NOT_FOUND'],
        },
      },
    },
  );
}

const filterSchema = z.strictObject({
  pool: z.string().optional(),
  cause: z
    .enum(['crash', 'unresponsive', 'killed'], { error: 'expected crash, unresponsive or killed' })
    .optional(),
  principal: z.string().optional(),
  fingerprint: z.string().optional(),
  limit: pageLimit(),
  cursor: z.string().optional(),
});

// Empty, it would be read as no fingerprint by a careless client, and end them all.
const liftSchema = z.strictObject({
  fingerprint: z.string().min(1, { error: 'is empty' }).optional(),
});

/** A crash that is not kept any more is a place in the list all the same: ids sort by time. */
function idInCursor(cursor: string): string {
  const crashId = Buffer.from(cursor, 'base64url').toString();
  if (isCrashId(crashId)) return crashId;
  throw invalidRequest([{ path: 'cursor', message: 'this cursor is none of ours; begin without one' }]);
}

function toWire({ fingerprint, statement, crashIds, since, until, principals }: Quarantined) {
  return { fingerprint, statement, crash_ids: crashIds, since, until, principals };
}
