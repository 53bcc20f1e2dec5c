import { describe, expect, test } from 'vitest';
import { refuseForeignPage } from '../../src/http/web-page.ts';
import { ask, checkForLeaks, openEdge } from './edge.ts';

checkForLeaks();

type Headers = Readonly<Record<string, string>>;

/** What kind of thing was refused, or undefined. */
function refused(headers: Headers, allowedHosts: readonly string[] | undefined = []): string | undefined {
  try {
    refuseForeignPage({ headers }, allowedHosts);
    return undefined;
  } catch (error) {
    expect(error).toMatchObject({ code: 'FORBIDDEN' });
    return (error as { members: { denied: { kind: string } } }).members.denied.kind;
  }
}

describe('a name the server is called by', () => {
  test.each(['localhost', 'LOCALHOST:8480', '127.0.0.1:1', '127.0.0.53', '[::1]:8480', 'duck.lan:80'])(
    '%s is its own',
    (host) => expect(refused({ host }, ['Duck.lan'])).toBeUndefined(),
  );

  test.each([
    ...['attacker.example', 'localhost.attacker.example', '127.0.0.1.attacker.example', '10.0.0.1', '[::2]'],
    ...['', '[', 'a b', 'localhost@attacker.example', '0.0.0.0', 'duck.lan.attacker.example'],
  ])('%j is not', (host) => expect(refused({ host }, ['duck.lan'])).toBe('host'));

  test('is not asked of a client without one, which is no browser', () => {
    expect(refused({})).toBeUndefined();
  });

  test('is any where the server says so', () => {
    expect(() => refuseForeignPage({ headers: { host: 'attacker.example' } }, undefined)).not.toThrow();
  });
});

describe('a page', () => {
  const host = 'localhost:8480';

  test.each<[string, Headers]>([
    ['of the server itself', { origin: 'http://localhost:8480' }],
    ['that came by TLS through a proxy', { origin: 'https://localhost:8480' }],
    ['whose browser says that it is of the same origin', { 'sec-fetch-site': 'same-origin' }],
    ['that is none: a typed address', { 'sec-fetch-site': 'none' }],
    [
      'behind a proxy that calls the server by another name',
      { 'sec-fetch-site': 'same-origin', origin: 'https://d.example' },
    ],
  ])('%s may send requests', (_, headers) => expect(refused({ host, ...headers })).toBeUndefined());

  test.each<[string, Headers]>([
    ['of another host', { origin: 'https://attacker.example' }],
    ['of another port of this machine', { origin: 'http://localhost:3000' }],
    ['without an origin of its own', { origin: 'null' }],
    ['with an origin that is none', { origin: 'localhost:8480' }],
    ['whose browser says that it is elsewhere', { 'sec-fetch-site': 'cross-site' }],
    ['of a neighbour', { 'sec-fetch-site': 'same-site', origin: 'http://localhost:3000' }],
    ['whose browser says something new', { 'sec-fetch-site': 'x' }],
  ])('%s may not', (_, headers) => expect(refused({ host, ...headers })).toBe('origin'));
});

test('a page elsewhere runs nothing, and hears why; health is told to anybody', async () => {
  const edge = await openEdge({ allowedHosts: () => [] });
  const headers = { Origin: 'https://attacker.example', 'Content-Type': 'text/plain' };
  const reply = await ask(`${edge.url}/v1/query`, { method: 'POST', headers, body: 'SELECT 1' });
  expect([reply.status, reply.json]).toMatchObject([
    403,
    { denied: { kind: 'origin', name: headers.Origin } },
  ]);
  const rebound = await ask(`${edge.url}/v1/query?sql=SELECT%201`, { headers: { Host: 'attacker.example' } });
  expect([rebound.status, rebound.json]).toMatchObject([403, { denied: { kind: 'host' } }]);
  expect(edge.queries.requests).toEqual([]);
  expect((await ask(`${edge.url}/healthz`, { headers })).status).toBe(200);
});
