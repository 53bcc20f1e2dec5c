/** The OpenAPI document: valid, whole, and true of what the server replies. */
import { join } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FAILURE_KINDS } from '../../src/failures.ts';
import { routeTable } from '../../src/http/app.ts';
import { openApiDocument, pathOf } from '../../src/http/openapi/document.ts';
import type { HttpServices } from '../../src/http/services.ts';
import { ROOT } from '../support/cli.ts';
import { bearer, keyHash } from '../support/principals.ts';
import {
  call,
  quickPool,
  type Settings,
  startTestServer,
  type TestServer,
  until,
} from '../support/test-server.ts';

// biome-ignore lint/suspicious/noExplicitAny: a document of the OpenAPI specification
type Json = any;

const ROUTES = routeTable({} as HttpServices).all();
const methodsOf = (handlers: ReadonlyMap<string, unknown>) =>
  [...handlers.keys()].filter((method) => method !== 'HEAD');

let server: TestServer;
let document: Json;
let ajv: Ajv2020;

const as = (who: string, method: string, path: string, body?: Settings, more = {}) =>
  call(server.url, method, path, body, undefined, { ...bearer(who), ...more });

beforeAll(async () => {
  const principal = (name: string, role: string) => ({ [name]: { key_hash: keyHash(name), role } });
  server = await startTestServer({
    pools: { interactive: quickPool({ size: 2 }), exports: quickPool() },
    sources: { docs: { kind: 'files', path: join(ROOT, 'docs') } },
    config: {
      auth: {
        mode: 'api_keys',
        principals: { ...principal('reads', 'reader'), ...principal('ops', 'operator') },
      },
    },
  });
  await until(
    'a worker is idle',
    () => server.workers().filter(({ status }) => status().state === 'idle').length === 3,
  );
  document = (await as('reads', 'GET', '/openapi.json')).body;
  ajv = new Ajv2020({ strict: false });
  ajv.addSchema(document, 'openapi');
});

afterAll(() => server.stop());

it('every method of every route is described', () => {
  const missing = ROUTES.flatMap(({ pattern, handlers, operations }) =>
    methodsOf(handlers)
      .filter((method) => !(method in operations))
      .map((method) => `${method} ${pattern}`),
  );
  expect(
    missing,
    'say what they take and reply where they are added, as src/http/openapi/operation.ts shows',
  ).toEqual([]);
});

it('it is of the routes there are, and of nothing else', () => {
  const routes = ROUTES.flatMap(({ pattern, handlers }) =>
    methodsOf(handlers).map((method) => `${method} ${pathOf(pattern)}`),
  );
  const described = Object.entries(document.paths as Json).flatMap(([path, item]) =>
    Object.keys(item as Json)
      .filter((key) => key !== 'parameters')
      .map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(described.toSorted()).toEqual(routes.toSorted());
  for (const { pattern, handlers, access } of ROUTES)
    for (const method of methodsOf(handlers)) {
      const { security } = document.paths[pathOf(pattern)][method.toLowerCase()];
      expect([pattern, security]).toEqual([pattern, access === 'open' ? [] : [{ key: [] }]]);
    }
});

it('it is OpenAPI 3.1', async () => {
  const { valid, errors } = await new Validator().validate(structuredClone(document));
  expect([valid, errors]).toEqual([true, undefined]);
});

it('it has every code that a failure may have, with its status', () => {
  const constants = (Object.values(document.components.schemas) as Json[]).flatMap(({ allOf = [] }) =>
    allOf.flatMap(({ properties }: Json) =>
      properties ? [[properties.code.const, properties.status.const]] : [],
    ),
  );
  expect(constants).toEqual(Object.entries(FAILURE_KINDS).map(([code, { status }]) => [code, status]));
});

it('a stranger does not get it', async () => {
  expect((await call(server.url, 'GET', '/openapi.json')).status).toBe(401);
});

it('a route that nobody has described is a fault of its author, not of its reader', () => {
  const [route] = ROUTES;
  if (route === undefined) throw new Error('no routes');
  expect(() => openApiDocument([{ ...route, operations: {} }])).toThrow(/nobody has described/);
});

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly pattern: string;
  readonly status: number;
  readonly body?: Settings;
  readonly who?: string;
}

const get = (path: string, status = 200, pattern = path): Asked => ({ method: 'GET', path, pattern, status });
const post = (path: string, body: Settings, status: number, pattern = path): Asked => ({
  method: 'POST',
  path,
  pattern,
  status,
  body,
});

/** In this order. */
const ASKED: readonly Asked[] = [
  post('/v1/query', { sql: "SELECT 1 AS one, 'a' AS a, [1, 2] AS list", query_id: 'q1' }, 200),
  post('/v1/query', { sql: 'SELECT 1 AS one', row_format: 'objects' }, 200),
  post('/v1/query', { sql: 'SELECT' }, 400),
  post('/v1/query', { sql: 'SELECT 1', typo: 1 }, 400),
  post('/v1/query', { sql: "COPY (SELECT 1) TO '/tmp/x'" }, 403),
  post('/v1/query', { sql: 'SELECT 1', query_id: 'q1' }, 409),
  get('/v1/query?sql=SELECT+1', 200, '/v1/query'),
  post('/v1/queries', { sql: 'SELECT 1 AS one', query_id: 'k1' }, 202),
  get('/v1/queries'),
  get('/v1/queries/q1', 200, '/v1/queries/{id}'),
  get('/v1/queries/none', 404, '/v1/queries/{id}'),
  get('/v1/queries/q1/result', 404, '/v1/queries/{id}/result'),
  { method: 'DELETE', path: '/v1/queries/q1', pattern: '/v1/queries/{id}', status: 200 },
  post('/v1/sessions', { name: 'mine' }, 201),
  get('/v1/sessions'),
  get('/v1/sessions/none', 404, '/v1/sessions/{id}'),
  get('/v1/sources'),
  post('/v1/sources/docs/check', {}, 200, '/v1/sources/{alias}/check'),
  get('/v1/sources/docs/tables', 200, '/v1/sources/{alias}/tables'),
  post('/v1/exports', { sql: 'SELECT 1 AS one' }, 202),
  get('/v1/exports'),
  get('/healthz'),
  get('/readyz'),
  get('/v1/workers'),
  get('/v1/supervision'),
  get('/v1/config'),
  post('/v1/config/reload', {}, 200),
  post('/v1/supervision/pools/nothing/restart', {}, 404, '/v1/supervision/{+path}/restart'),
  post('/v1/chaos', { target: 'interactive', fault: 'sigkill' }, 202),
  get('/v1/crashes'),
  get('/v1/crashes/none', 404, '/v1/crashes/{id}'),
  get('/v1/quarantine'),
  { ...get('/v1/workers', 403), who: 'reads' },
  { ...get('/v1/workers', 401), who: 'nobody' },
  get('/openapi.json'),
];

it('the server replies what it says', async () => {
  for (const { method, path, pattern, status, body, who = 'ops' } of ASKED) {
    const reply = await as(who, method, path, body);
    expect([method, path, reply.status, reply.body]).toEqual([method, path, status, expect.anything()]);
    const { responses } = document.paths[pathOf(pattern)][method.toLowerCase()];
    const type = String(reply.headers['content-type']);
    expect(Object.keys(responses[status].content), path).toContain(type);
    const pointer = [pathOf(pattern), method.toLowerCase(), 'responses', status, 'content', type, 'schema'];
    const steps = pointer.map((step) =>
      encodeURIComponent(String(step).replaceAll('~', '~0').replaceAll('/', '~1')),
    );
    const validate = ajv.compile({ $ref: `openapi#/paths/${steps.join('/')}` });
    expect(validate(reply.body) || [path, validate.errors, reply.body]).toBe(true);
  }
  await until(
    'the worker is back',
    () => server.workers().filter(({ status }) => status().state === 'idle').length === 3,
  );
});
