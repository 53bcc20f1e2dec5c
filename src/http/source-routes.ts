/**
 * `/v1/sources`: what a query may name in `sources`, and whether it can be reached.
 */
import { z } from 'zod';
import { credentialsSchema } from '../config/credentials.ts';
import { Failure } from '../failures.ts';
import { requireSource } from '../principal.ts';
import {
  columnsDocument,
  credentialsReplacedDocument,
  sourceCheckedDocument,
  sourcesDocument,
  tablesDocument,
} from './documents.ts';
import { type Exchange, replyJson } from './exchange.ts';
import { invalidRequest } from './invalid-request.ts';
import { pageLimit, readParameters } from './parameters.ts';
import { QUERY_FAILURES } from './query-operations.ts';
import { readBody, refuseBody } from './request-body.ts';
import { type RouteTable, refuseQueryString } from './routes.ts';
import type { SourceService } from './services.ts';

/** They ask with a query. */
const ASKING = ['NOT_FOUND', ...QUERY_FAILURES] as const;

export function addSourceRoutes(routes: RouteTable, sources: SourceService): void {
  routes.add(
    '/v1/sources',
    {
      GET(exchange) {
        refuseQueryString(exchange);
        // Member by member, so that no credential can ever ride along.
        const own = sources.list(exchange.principal).map(({ alias, kind }) => ({ alias, kind }));
        replyJson(exchange, { sources: own });
      },
    },
    {
      operations: {
        GET: {
          summary: 'Sources that the principal may use',
          replies: { 200: { description: 'Aliases and kinds', schema: sourcesDocument } },
        },
      },
    },
  );

  routes.add(
    '/v1/sources/{alias}/credentials',
    {
      async PUT(exchange) {
        refuseQueryString(exchange);
        const { parameters, principal } = exchange;
        const alias = parameters.alias ?? '';
        requireSource(principal, alias);
        const { version } = await sources.replaceCredentials(
          alias,
          await readCredentials(exchange),
          principal,
        );
        replyJson(exchange, { alias, version });
      },
    },
    {
      access: 'operator',
      operations: {
        PUT: {
          summary: 'Replace the credentials of a source',
          body: credentialsSchema,
          replies: {
            200: { description: 'The version of the configuration', schema: credentialsReplacedDocument },
          },
          failures: ['NOT_FOUND'],
        },
      },
    },
  );

  routes.add(
    '/v1/sources/{alias}/tables',
    {
      async GET(exchange) {
        const { limit, cursor } = readParameters(exchange.ctx.querystring, pageSchema);
        const { parameters, principal } = exchange;
        const alias = parameters.alias ?? '';
        requireSource(principal, alias);
        const { tables, next } = await sources.tables(alias, { limit, cursor }, principal);
        replyJson(exchange, { alias, tables, next: next ?? null });
      },
    },
    {
      operations: {
        GET: {
          summary: 'The tables of a source',
          query: pageSchema,
          replies: { 200: { description: 'A page of them', schema: tablesDocument } },
          failures: ASKING,
        },
      },
    },
  );

  // The first dot that is not encoded ends the schema: `main.a%2Eb` and `main.a.b` are one table.
  routes.add(
    '/v1/sources/{alias}/tables/{schema}.{table}',
    {
      async GET(exchange) {
        refuseQueryString(exchange);
        const { parameters, principal } = exchange;
        const { alias = '', schema = '', table: name = '' } = parameters;
        requireSource(principal, alias);
        const { sql, columns } = await sources.columns(alias, { schema, name }, principal);
        replyJson(exchange, { alias, schema, name, sql, columns });
      },
    },
    {
      operations: {
        GET: {
          summary: 'The columns of a table',
          replies: { 200: { description: 'All of them', schema: columnsDocument } },
          failures: ASKING,
        },
      },
    },
  );

  routes.add(
    '/v1/sources/{alias}/check',
    {
      async POST(exchange) {
        refuseQueryString(exchange);
        const { parameters, principal } = exchange;
        const alias = parameters.alias ?? '';
        // Before anything else: whether there is one that it may not use is not its to know.
        requireSource(principal, alias);
        if (!sources.has(alias))
          throw new Failure('NOT_FOUND', `There is no source ${JSON.stringify(alias)}.`);
        await refuseBody(exchange);
        const { ms } = await sources.check(alias, principal);
        replyJson(exchange, { alias, ok: true, ms: Math.round(ms) });
      },
    },
    {
      operations: {
        POST: {
          summary: 'Whether a source can be reached',
          body: z.strictObject({}),
          bodyOptional: true,
          replies: { 200: { description: 'It can', schema: sourceCheckedDocument } },
          failures: ASKING,
        },
      },
    },
  );
}

const pageSchema = z.strictObject({ limit: pageLimit(), cursor: z.string().optional() });

const MAX_CREDENTIALS = 64_000;

/** Says nothing of what was sent but that it is no JSON: the parser's own words hold a piece of it. */
async function readCredentials(exchange: Exchange): Promise<unknown> {
  const text = (await readBody(exchange, MAX_CREDENTIALS)).toString();
  try {
    return JSON.parse(text);
  } catch {
    throw invalidRequest([{ path: '', message: 'expected the credentials as a JSON object' }]);
  }
}
