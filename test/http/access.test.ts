/** Each route there is, and who may call it: a route that nobody has thought about fails here. */
import { expect, test } from 'vitest';
import type { AuthConfig } from '../../src/config/auth.ts';
import { Secret } from '../../src/config/secret.ts';
import { routeTable } from '../../src/http/app.ts';
import type { Access } from '../../src/http/routes.ts';
import type { HttpServices } from '../../src/http/services.ts';
import { bearer, keyHash } from '../support/principals.ts';
import { ask, checkForLeaks, openEdge } from './edge.ts';

checkForLeaks();

const EXPECTED: Readonly<Record<string, Access>> = {
  '/healthz': 'open',
  '/readyz': 'open',
  '/openapi.json': 'key',
  '/v1/query': 'key',
  '/v1/queries': 'key',
  '/v1/queries/{id}': 'key',
  '/v1/queries/{id}/events': 'key',
  '/v1/queries/{id}/result': 'key',
  '/v1/exports': 'key',
  '/v1/exports/{id}': 'key',
  '/v1/sessions': 'key',
  '/v1/sessions/{id}': 'key',
  '/v1/sources': 'key',
  '/v1/sources/{alias}/check': 'key',
  '/v1/sources/{alias}/credentials': 'operator',
  '/v1/sources/{alias}/tables': 'key',
  '/v1/sources/{alias}/tables/{schema}.{table}': 'key',
  '/metrics': 'operator',
  '/v1/chaos': 'operator',
  '/v1/crashes': 'operator',
  '/v1/crashes/{id}': 'operator',
  '/v1/quarantine': 'operator',
  '/v1/supervision': 'operator',
  '/v1/supervision/events': 'operator',
  '/v1/supervision/{+path}/restart': 'operator',
  '/v1/workers': 'operator',
  '/v1/config': 'operator',
  '/v1/config/reload': 'operator',
};

// Handlers reach for the services when they are called, and none is.
const ROUTES = routeTable({} as HttpServices).all();

const AUTH: AuthConfig = {
  mode: 'api_keys',
  principals: {
    someone: { key_hash: new Secret(keyHash('a-writer')), role: 'writer', inline_sources: [] },
    ops: { key_hash: new Secret(keyHash('an-operator')), role: 'operator', inline_sources: [] },
  },
  inline_sources: [],
};

test('each is open, for everyone with a key, or for operators', () => {
  expect(Object.fromEntries(ROUTES.map(({ pattern, access }) => [pattern, access]))).toEqual(EXPECTED);
});

test.each(
  ROUTES.flatMap(({ pattern, access, handlers }) =>
    [...handlers.keys()].map((method) => ({ method, pattern, access })),
  ),
)('$method $pattern lets in whom it should, and nobody else', async ({ method, pattern, access }) => {
  const edge = await openEdge({ auth: () => AUTH });
  const call = async (headers: Record<string, string>) => {
    const reply = await ask(edge.url + pattern.replaceAll(/\{\+?\w+\}/g, 'pg1'), {
      method,
      // A stream of events would not end.
      headers: { accept: 'application/json', ...headers },
    });
    return { ...reply, let: ![401, 403].includes(reply.status) };
  };
  const [stranger, someone, operator] = [
    await call({}),
    await call(bearer('a-writer')),
    await call(bearer('an-operator')),
  ];
  expect([stranger.let, someone.let, operator.let]).toEqual([access === 'open', access !== 'operator', true]);
  if (!stranger.let) expect(stranger.status).toBe(401);
  if (!someone.let && method !== 'HEAD') {
    expect(someone.json).toMatchObject({ code: 'FORBIDDEN', denied: { kind: 'endpoint', name: pattern } });
  }
  expect(edge.errors).toEqual([]);
});
