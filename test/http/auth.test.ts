import type { IncomingMessage } from 'node:http';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { AuthConfig, PrincipalConfig } from '../../src/config/auth.ts';
import { Secret } from '../../src/config/secret.ts';
import { authenticator } from '../../src/http/auth.ts';
import { ANONYMOUS } from '../../src/principal.ts';
import { bearer, keyHash } from '../support/principals.ts';
import { ask, checkForLeaks, openAgent, openEdge, postQuery, problemOf, RawClient } from './edge.ts';

checkForLeaks();

const compared = vi.hoisted(() => ({ times: 0 }));
vi.mock('node:crypto', async (original) => {
  const crypto = await original<typeof import('node:crypto')>();
  const timingSafeEqual: typeof crypto.timingSafeEqual = (one, other) => {
    compared.times += 1;
    return crypto.timingSafeEqual(one, other);
  };
  return { ...crypto, timingSafeEqual };
});
afterEach(() => {
  compared.times = 0;
});

const KEY = 'dck_0123456789-_abc';

/** `api_keys` with these principals, each known by the key that is its name's value. */
function keys(principals: Record<string, string | (Partial<PrincipalConfig> & { key: string })>): AuthConfig {
  const entries = Object.entries(principals).map(([name, given]) => {
    const { key, ...rest } = typeof given === 'string' ? { key: given } : given;
    const hashed = { key_hash: new Secret(keyHash(key)) };
    const principal: PrincipalConfig = { ...hashed, role: 'reader', inline_sources: [], ...rest };
    return [name, principal] as const;
  });
  return { mode: 'api_keys', principals: Object.fromEntries(entries), inline_sources: [] };
}

/** A request as the parser hands it on, with these Authorization headers. */
function request(...authorization: string[]): IncomingMessage {
  const [first] = authorization;
  const headers = first === undefined ? {} : { authorization: first };
  const rawHeaders = authorization.flatMap((value) => ['Authorization', value]);
  return { headers, rawHeaders } as unknown as IncomingMessage;
}

/** The name of the principal, or why there is none. */
function outcomeOf(config: AuthConfig, ...authorization: string[]): string {
  let failure = '';
  const authenticate = authenticator(
    () => config,
    (why) => {
      failure = why;
    },
  );
  try {
    return authenticate(request(...authorization)).name;
  } catch (error) {
    expect(error).toMatchObject({ code: 'UNAUTHENTICATED' });
    return failure;
  }
}

describe('a key', () => {
  test('is that of its principal, with the role, the sources and the pools of the configuration', () => {
    const config = keys({
      other: 'other-key',
      analyst: {
        ...{ key: KEY, role: 'writer', sources: ['pg1'], pools: ['reports', 'interactive'] },
        inline_sources: ['mysql'],
      },
    });
    expect(authenticator(() => config)(request(`Bearer ${KEY}`))).toEqual({
      name: 'analyst',
      role: 'writer',
      sources: new Set(['pg1']),
      pools: ['reports', 'interactive'],
      inlineSources: ['mysql'],
    });
  });

  test.each([
    ['no header', [], 'missing'],
    ['an empty header', [''], 'malformed'],
    ['the scheme alone', ['Bearer'], 'malformed'],
    ['the key alone', [KEY], 'malformed'],
    ['another scheme', [`Basic ${KEY}`], 'malformed'],
    ['no space behind the scheme', [`Bearer${KEY}`], 'malformed'],
    ['a tab behind the scheme', [`Bearer\t${KEY}`], 'malformed'],
    ['two keys', [`Bearer ${KEY} ${KEY}`], 'malformed'],
    ['the same header twice', [`Bearer ${KEY}`, `Bearer ${KEY}`], 'malformed'],
    ['a second header of any kind', [`Bearer ${KEY}`, 'Basic x'], 'malformed'],
    ['a key of somebody else', ['Bearer dck_other'], 'unknown'],
    ['the key in another case', [`Bearer ${KEY.toUpperCase()}`], 'unknown'],
    ['less than the key', [`Bearer ${KEY.slice(0, -1)}`], 'unknown'],
    ['more than the key', [`Bearer ${KEY}=`], 'unknown'],
    ['the hash in place of the key', [`Bearer ${keyHash(KEY)}`], 'unknown'],
    ['the hash, bare', [`Bearer ${keyHash(KEY).slice(7)}`], 'unknown'],
    ['the name of its principal', ['Bearer analyst'], 'unknown'],
    ['a scheme in lower case', [`bearer ${KEY}`], 'analyst'],
    ['more than one space', [`Bearer   ${KEY}`], 'analyst'],
  ])('sent as %s', (_what, authorization, outcome) => {
    expect(outcomeOf(keys({ analyst: KEY }), ...authorization)).toBe(outcome);
  });

  test('is found among those of all principals, by nothing but itself', () => {
    const name = fc.stringMatching(/^[a-z]{1,8}$/);
    const key = fc.stringMatching(/^[!-~]{1,40}$/);
    fc.assert(
      fc.property(fc.dictionary(name, key, { maxKeys: 6 }), key, (principals, sent) => {
        const owners = Object.keys(principals).filter((owner) => principals[owner] === sent);
        fc.pre(owners.length <= 1);
        expect(outcomeOf(keys(principals), `Bearer ${sent}`)).toBe(owners[0] ?? 'unknown');
      }),
    );
  });

  test('is compared with those of all principals, whether it is the first, the last or none', () => {
    const config = keys({ a: 'key-a', b: 'key-b', c: 'key-c' });
    for (const sent of ['key-a', 'key-c', 'key-x']) {
      compared.times = 0;
      outcomeOf(config, `Bearer ${sent}`);
      expect(compared.times, sent).toBe(3);
    }
  });
});

test('no value of the header but the scheme and the key lets anybody in, nor is any a fault', () => {
  const near = fc
    .tuple(
      fc.constantFrom('Bearer ', 'bearer  ', 'Basic ', ' Bearer ', ''),
      fc.constantFrom(KEY, '', 'x'),
      fc.string(),
    )
    .map(([scheme, key, more]) => scheme + key + more);
  const config = keys({ analyst: KEY });
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), near), (value) => {
      const isKey = /^bearer +/i.test(value) && value.replace(/^bearer +/i, '') === KEY;
      expect(outcomeOf(config, value) === 'analyst').toBe(isKey);
    }),
    { numRuns: 1_000 },
  );
});

test('no bytes on the wire as the header let anybody in, nor are any a fault', async () => {
  const edge = await openEdge({ auth: () => keys({ analyst: KEY }) });
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 30 }), fc.boolean(), async (bytes, prefixed) => {
      const value = Buffer.concat([
        Buffer.from(prefixed ? `Bearer ${KEY}` : ''),
        Buffer.from([33, ...bytes]),
      ]);
      const client = new RawClient(edge.port);
      client.write('GET /v1/queries HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ');
      client.write(value).write('\r\n\r\n');
      const { status } = problemOf(await client.untilClosed());
      expect([400, 401]).toContain(status);
    }),
    { numRuns: 60 },
  );
  expect(edge.errors).toEqual([]);
});

describe('without a valid key', () => {
  const refused = [{}, { Authorization: 'Basic eDp5' }, bearer('dck_unknown')];

  test('every reply is the same 401, whatever is wrong with the key', async () => {
    const edge = await openEdge({ auth: () => keys({ analyst: KEY }) });
    const replies = [];
    for (const headers of refused) replies.push(await ask(`${edge.url}/v1/sources`, { headers }));
    for (const reply of replies) {
      expect([reply.status, reply.headers['www-authenticate']]).toEqual([401, 'Bearer realm="duckcoop"']);
      expect(reply.headers['content-type']).toBe('application/problem+json');
      expect(reply.json).toMatchObject({ code: 'UNAUTHENTICATED', status: 401, retryable: false });
      expect(reply.text).toBe(replies[0]?.text);
    }
    expect(edge.authFailures).toEqual(['missing', 'malformed', 'unknown']);
  });

  test('paths that lead nowhere, methods that are not there and OPTIONS are 401 too', async () => {
    const edge = await openEdge({ auth: () => keys({ analyst: KEY }) });
    for (const [method, path] of [
      ['GET', '/nowhere'],
      ['GET', '/v1/queries/q1'],
      ['PUT', '/v1/query'],
      ['OPTIONS', '/v1/query'],
      ['HEAD', '/metrics'],
    ] as const) {
      expect([path, (await ask(edge.url + path, { method })).status]).toEqual([path, 401]);
    }
    expect((await ask(`${edge.url}/nowhere`, { headers: bearer(KEY) })).status).toBe(404);
    expect((await ask(`${edge.url}/v1/query`, { method: 'PUT', headers: bearer(KEY) })).status).toBe(405);
  });

  test('health and readiness are told all the same', async () => {
    const edge = await openEdge({ auth: () => keys({ analyst: KEY }) });
    expect((await ask(`${edge.url}/healthz`)).status).toBe(200);
    expect((await ask(`${edge.url}/readyz`, { headers: bearer('wrong') })).status).toBe(200);
    expect(edge.authFailures).toEqual([]);
  });

  test('a body is refused before it is read, and with its connection', async () => {
    const edge = await openEdge({ auth: () => keys({ analyst: KEY }) });
    const client = new RawClient(edge.port);
    client.write(
      'POST /v1/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n{',
    );
    const reply = await client.untilClosed();
    expect(reply).toMatch(/^HTTP\/1\.1 401 /);
    expect(reply).toMatch(/\r\nConnection: close\r\n/i);
    expect(problemOf(reply).code).toBe('UNAUTHENTICATED');
    expect(edge.queries.requests).toEqual([]);
  });
});

test('who asks is who the query is run for', async () => {
  const edge = await openEdge({ auth: () => keys({ analyst: { key: KEY, pools: ['interactive'] } }) });
  expect((await postQuery(edge, { sql: 'SELECT 1' }, { headers: bearer(KEY) })).status).toBe(200);
  const principal = { name: 'analyst', role: 'reader', sources: undefined, pools: ['interactive'] };
  expect(edge.queries.requests).toMatchObject([{ principal }]);
});

test('a key that a reload has removed is worth nothing from then on, on an open connection too', async () => {
  let config = keys({ analyst: KEY, ops: 'ops-key' });
  const edge = await openEdge({ auth: () => config });
  const agent = openAgent({ connections: 1 });
  const get = async (key: string) =>
    (await ask(`${edge.url}/v1/sources`, { agent, headers: bearer(key) })).status;
  expect([await get(KEY), await get('ops-key')]).toEqual([200, 200]);
  config = keys({ ops: 'ops-key', late: 'late-key' });
  expect([await get(KEY), await get('ops-key'), await get('late-key')]).toEqual([401, 200, 200]);
});

test('while the mode is none every caller is anonymous, with a key or without', async () => {
  const config: AuthConfig = { ...keys({ analyst: KEY }), mode: 'none', inline_sources: ['files'] };
  const everybody = { ...ANONYMOUS, inlineSources: ['files'] };
  const authenticate = authenticator(() => config);
  expect(authenticate(request())).toEqual(everybody);
  expect(authenticate(request(`Bearer ${KEY}`))).toEqual(everybody);
  expect(authenticate(request('Basic x', 'Basic x'))).toEqual(everybody);
});
