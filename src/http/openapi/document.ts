/**
 * `GET /openapi.json`: the routes as an OpenAPI 3.1 document. Pure; all it knows is the route table with its
 * {@link Operation}s, and the codes of failures.
 *
 * HEAD is what GET is, without a body (RFC 9110, section 9.3.2), and OPTIONS says which methods there are: neither is in it.
 */
import { z } from 'zod';
import { FAILURE_KINDS, type FailureCode } from '../../failures.ts';
import { VERSION } from '../../version.ts';
import type { Route } from '../routes.ts';
import type { Operation, Reply } from './operation.ts';
import { type JsonSchema, SchemaCollector } from './schemas.ts';

const ABOUT = `A SQL service over DuckDB. Every error is an application/problem+json document (RFC 9457) with a \`code\` and
whether the same request may succeed later (\`retryable\`). A request that is no HTTP/1.1, too long or too slow is answered with
400, 408, 413 or 431 before any route is looked at. Fields that are not known are refused. The methods of a path also
are HEAD, where there is a GET without effects, and OPTIONS; all others are 405.`;

const PROBLEM_TYPE = 'application/problem+json';
const RETRY_AFTER = {
  description: 'Seconds after which it may be tried again.',
  schema: { type: 'integer', minimum: 1 },
};

/** Throws for a method that nobody has described. */
export function openApiDocument(routes: readonly Route[]): JsonSchema {
  const schemas = new SchemaCollector();
  const paths = Object.fromEntries(
    routes.map((route) => [pathOf(route.pattern), pathItem(route, schemas)] as const).toSorted(),
  );
  return {
    openapi: '3.1.1',
    info: {
      title: 'Duckcoop',
      version: VERSION,
      description: ABOUT,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      securitySchemes: {
        key: {
          type: 'http',
          scheme: 'bearer',
          description: 'The key of a principal. Asked for with `auth.mode: api_keys` alone.',
        },
      },
      schemas: { ...schemas.components, ...problems() },
    },
  };
}

/** OpenAPI has no parameter of several segments: what is one here has its slashes as they are (RFC 6570, section 3.2.3). */
export function pathOf(pattern: string): string {
  return pattern.replaceAll('{+', '{');
}

function pathItem(route: Route, schemas: SchemaCollector): JsonSchema {
  const parameters = [...route.pattern.matchAll(/\{(\+?)(\w+)\}/g)].map(([, several, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string', minLength: 1 },
    ...(several === '+' ? { description: 'Slashes stand as they are.' } : {}),
  }));
  const methods = [...route.handlers.keys()].filter((method) => method !== 'HEAD');
  const operations = methods.map((method) => {
    const operation = route.operations[method as keyof typeof route.operations];
    if (operation === undefined) throw new Error(`nobody has described ${method} ${route.pattern}`);
    return [method.toLowerCase(), operationObject(method, route, operation, schemas)];
  });
  return { ...(parameters.length > 0 && { parameters }), ...Object.fromEntries(operations) };
}

function operationObject(
  method: string,
  { pattern, access }: Route,
  operation: Operation,
  schemas: SchemaCollector,
): JsonSchema {
  const { summary, description } = operation;
  const who = access === 'operator' ? 'For operators.' : undefined;
  const said = [description, who].filter((text) => text !== undefined).join(' ');
  const parameters = queryParameters(operation, schemas);
  const requestBody = bodyOf(operation, schemas);
  return {
    operationId: operationId(method, pattern),
    tags: [tagOf(pattern)],
    summary,
    ...(said !== '' && { description: said }),
    security: access === 'open' ? [] : [{ key: [] }],
    ...(parameters.length > 0 && { parameters }),
    ...(requestBody !== undefined && { requestBody }),
    responses: { ...repliesOf(operation, schemas), ...failuresOf(operation, access !== 'open') },
  };
}

/** `GET /v1/queries/{id}/result` is `getQueriesIdResult`. */
function operationId(method: string, pattern: string): string {
  const words = pattern.replace(/^\/(v1\/)?/, '').split(/[^A-Za-z]+/);
  return method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

function tagOf(pattern: string): string {
  return /^\/v1\/(\w+)/.exec(pattern)?.[1]?.replace(/^query$/, 'queries') ?? 'server';
}

function queryParameters(
  { query, jsonQuery, textBodies }: Operation,
  schemas: SchemaCollector,
): JsonSchema[] {
  if (query === undefined) return [];
  const { properties = {}, required = [] } = schemas.convert(query, 'input') as {
    properties?: Record<string, JsonSchema>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    // Beside a body in JSON there are none.
    required: textBodies === undefined && required.includes(name),
    ...(jsonQuery?.has(name)
      ? { content: { 'application/json': { schema } } }
      : { schema, ...(schema.type === 'array' && { style: 'form', explode: false }) }),
  }));
}

function bodyOf(
  { body, textBodies = [], bodyOptional }: Operation,
  schemas: SchemaCollector,
): JsonSchema | undefined {
  if (body === undefined && textBodies.length === 0) return undefined;
  const texts = textBodies.map((type) => [type, { schema: { type: 'string', minLength: 1 } }]);
  const json = body === undefined ? [] : [['application/json', { schema: schemas.convert(body, 'input') }]];
  return { required: bodyOptional !== true, content: Object.fromEntries([...json, ...texts]) };
}

function repliesOf({ replies }: Operation, schemas: SchemaCollector): JsonSchema {
  return Object.fromEntries(
    Object.entries(replies).map(([status, reply]) => [status, replyObject(reply, schemas)]),
  );
}

function replyObject(
  { description, schema, types = [], headers = {} }: Reply,
  schemas: SchemaCollector,
): JsonSchema {
  const json =
    schema === undefined ? [] : [['application/json', { schema: schemas.convert(schema, 'output') }]];
  const content = [...json, ...types.map((type) => [type, { schema: {} }])];
  const named = Object.entries(headers).map(([name, meaning]) => [
    name,
    { description: meaning, schema: { type: 'string' } },
  ]);
  return {
    description,
    ...(named.length > 0 && { headers: Object.fromEntries(named) }),
    ...(content.length > 0 && { content: Object.fromEntries(content) }),
  };
}

function failuresOf(operation: Operation, keyed: boolean): JsonSchema {
  const codes = new Set<FailureCode>(['INVALID_REQUEST', 'INTERNAL', ...(operation.failures ?? [])]);
  if (keyed) codes.add('UNAUTHENTICATED').add('FORBIDDEN');
  if (operation.body !== undefined || operation.textBodies !== undefined) codes.add('PAYLOAD_TOO_LARGE');
  const statuses = new Set([...codes].map((code) => FAILURE_KINDS[code].status));
  const having = (status: number) =>
    [...codes].filter((code) => FAILURE_KINDS[code].status === status).toSorted();
  return Object.fromEntries([...statuses].map((status) => [status, failureReply(status, having(status))]));
}

function failureReply(status: number, codes: readonly FailureCode[]): JsonSchema {
  const refs = codes.map((code) => ({ $ref: `#/components/schemas/${problemName(code)}` }));
  const headers = {
    ...(status === 401 && { 'WWW-Authenticate': { schema: { type: 'string' } } }),
    ...(codes.some((code) => FAILURE_KINDS[code].retryable) && { 'Retry-After': RETRY_AFTER }),
  };
  return {
    description: codes.map((code) => `\`${code}\`: ${FAILURE_KINDS[code].title}.`).join(' '),
    ...(Object.keys(headers).length > 0 && { headers }),
    content: { [PROBLEM_TYPE]: { schema: refs.length === 1 ? refs[0] : { oneOf: refs } } },
  };
}

const problem = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int().min(400).max(599),
  code: z.string(),
  detail: z.string(),
  retryable: z.boolean(),
  query_id: z.string().optional(),
});

/** One schema for what all have in common, and one for each code. */
function problems(): JsonSchema {
  const common = new SchemaCollector().convert(problem, 'output');
  const codes = Object.keys(FAILURE_KINDS) as FailureCode[];
  const each = codes.map((code) => {
    const { status, title, retryable } = FAILURE_KINDS[code];
    const properties = {
      code: { const: code },
      status: { const: status },
      retryable: { const: retryable },
    };
    return [
      problemName(code),
      { title, allOf: [{ $ref: '#/components/schemas/Problem' }, { type: 'object', properties }] },
    ];
  });
  return { Problem: common, ...Object.fromEntries(each) };
}

/** `QUERY_TIMEOUT` is `ProblemQueryTimeout`. */
function problemName(code: FailureCode): string {
  const words = code.toLowerCase().split('_');
  return `Problem${words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')}`;
}
