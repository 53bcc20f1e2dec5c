/** What the routes of queries take and reply (query-routes.ts). */
import { z } from 'zod';
import type { FailureCode } from '../failures.ts';
import { EVENT_STREAM } from './accept.ts';
import {
  acceptedDocument,
  cancelledDocument,
  queriesDocument,
  queryDocument,
  resultDocument,
} from './documents.ts';
import { FORMATS, MEDIA_TYPES } from './formats.ts';
import type { Reply } from './openapi/operation.ts';
import { JSON_TEXTS, SQL_TYPES } from './query-fields.ts';
import { querySchema } from './query-request.ts';
import { filterSchema } from './query-view.ts';
import { resultParameters } from './result-parameters.ts';
import type { Operations } from './routes.ts';

export const eventParameters = z.strictObject({ last_event_id: z.string().optional() });

/** Why a query is not let in. */
const REFUSED = [
  'UNSUPPORTED_MEDIA_TYPE',
  'NOT_ACCEPTABLE',
  'QUERY_ID_REUSED',
  'SESSION_BUSY',
  'SESSION_EXPIRED',
  'NOT_FOUND',
  'QUERY_QUARANTINED',
  'QUOTA_EXCEEDED',
  'CRASH_BUDGET_EXCEEDED',
  'DISK_LIMIT',
  'POOL_DOWN',
  'OVERLOADED',
  'SHUTTING_DOWN',
  'SOURCE_UNAVAILABLE',
] as const satisfies FailureCode[];

/** What may become of one that was. */
const FAILED = [
  'SQL_ERROR',
  'QUERY_CANCELLED',
  'MEMORY_LIMIT',
  'DISK_LIMIT',
  'RESULT_TOO_LARGE',
  'WORKER_CRASHED',
  'SOURCE_UNAVAILABLE',
  'POOL_DOWN',
  'OVERLOADED',
  'SHUTTING_DOWN',
  'QUERY_TIMEOUT',
  'QUEUE_TIMEOUT',
] as const satisfies FailureCode[];

/** Both. */
export const QUERY_FAILURES: readonly FailureCode[] = [...REFUSED, ...FAILED];

const STREAMS = FORMATS.filter((format) => format !== 'json').map((format) => MEDIA_TYPES[format].type);
const ID = { 'X-Query-Id': 'The id of the query.' };

const result: Reply = {
  description: 'The result, in the format that was asked for. One that is cut ends without its last chunk.',
  schema: resultDocument,
  types: STREAMS,
  headers: ID,
};
const accepted: Reply = {
  description: 'It goes on; its result is kept.',
  schema: acceptedDocument,
  headers: { ...ID, Location: 'The query.' },
};
const withEvents = (reply: Reply): Reply => ({ ...reply, types: [...(reply.types ?? []), EVENT_STREAM] });

export const QUERY_OPERATIONS: Operations = {
  POST: {
    summary: 'Run a query and wait for its result',
    description:
      'The fields are those of a JSON body; with SQL as the body the others are parameters. With "Accept: text/event-stream" the reply is what becomes of it, as events.',
    query: querySchema.omit({ sql: true }),
    jsonQuery: JSON_TEXTS,
    body: querySchema.meta({ id: 'QueryRequest' }),
    textBodies: [...SQL_TYPES],
    replies: { 200: withEvents(result), 202: accepted },
    failures: QUERY_FAILURES,
  },
  GET: {
    summary: 'Run a query that reads',
    query: querySchema,
    jsonQuery: JSON_TEXTS,
    replies: { 200: withEvents(result), 202: accepted },
    failures: QUERY_FAILURES,
  },
};

export const QUERIES_OPERATIONS: Operations = {
  POST: {
    summary: 'Begin a query whose result is kept',
    query: querySchema.omit({ sql: true }),
    jsonQuery: JSON_TEXTS,
    body: querySchema.meta({ id: 'QueryRequest' }),
    textBodies: [...SQL_TYPES],
    replies: { 202: accepted },
    failures: QUERY_FAILURES,
  },
  GET: {
    summary: 'Queries, newest first',
    description: 'Its own; all of them for operators.',
    query: filterSchema,
    replies: { 200: { description: 'A page of them', schema: queriesDocument } },
  },
};

export const ONE_QUERY_OPERATIONS: Operations = {
  GET: {
    summary: 'A query',
    replies: { 200: { description: 'It', schema: queryDocument, headers: ID } },
    failures: ['NOT_FOUND'],
  },
  DELETE: {
    summary: 'Cancel a query, and delete its result',
    description: 'Answered once it has really stopped.',
    replies: { 200: { description: 'How it stopped', schema: cancelledDocument, headers: ID } },
    failures: ['NOT_FOUND', 'SHUTTING_DOWN'],
  },
};

export const EVENTS_OPERATIONS: Operations = {
  GET: {
    summary: 'What becomes of a query, as server-sent events',
    query: eventParameters,
    replies: { 200: { description: 'Until it has ended', types: [EVENT_STREAM], headers: ID } },
    failures: ['NOT_FOUND', 'NOT_ACCEPTABLE', 'OVERLOADED', 'SHUTTING_DOWN'],
  },
};

export const RESULT_OPERATIONS: Operations = {
  GET: {
    summary: 'The result of a query, or a page of it',
    description: 'What the query failed with, where it failed.',
    query: resultParameters,
    replies: {
      200: {
        ...result,
        headers: { ...ID, 'X-Result-Rows': 'Rows of all of it.', Link: 'The next page (RFC 8288).' },
      },
    },
    failures: [...QUERY_FAILURES, 'RESULT_NOT_READY'],
  },
};
