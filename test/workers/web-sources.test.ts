/** Web servers as sources, over plain HTTP and over TLS: what is read, what is sent along, and where redirects end. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Attachment } from '../../src/workers/protocol.ts';
import { CERTIFICATE, startWebServer, type WebServer } from '../support/web-server.ts';
import { EXTENSIONS, useRunFolders, useWorker } from './worker-harness.ts';

useRunFolders();
const worker = useWorker({ configure: { extensions: { directory: EXTENSIONS, names: ['httpfs'] } } });

const TOKEN = `to'ken-"hunter2\\`;
const CSV = 'id\n1\n2\n';
let plain: WebServer;
let secure: WebServer;
let other: WebServer;

const pages = (path: string) => {
  if (path === '/open/moved.csv') return { location: '/open/a.csv' };
  if (path === '/open/astray.csv') return { location: '/closed/a.csv' };
  if (path === '/open/away.csv') return { location: `${other.url}/stolen.csv` };
  if (path === '/open/dots.csv') return { location: '/open/%2e%2e/closed/a.csv' };
  const status = /status-(\d+)/.exec(path)?.[1];
  return status === undefined ? CSV : Number(status);
};

type Site = Extract<Attachment, { kind: 'http' }>;
const site = (server: WebServer, change: Partial<Site> = {}): Site => ({
  ...{ kind: 'http', alias: 'web', url: `${server.url}/open/`, bearerToken: TOKEN },
  headers: { 'X-Api-Key': 'key-hunter2' },
  views: [
    { name: 'numbers', path: 'a.csv' },
    { name: 'gone', path: 'status-404.csv' },
  ],
  ...(server === secure ? { sslCa: CERTIFICATE } : {}),
  ...change,
});
const attached = (...attachments: Attachment[]) => ({ attachments });

beforeAll(async () => {
  [plain, secure, other] = await Promise.all([
    startWebServer(pages),
    startWebServer(pages, { tls: true }),
    startWebServer(() => 'stolen\n1\n'),
  ]);
});
beforeEach(() => {
  for (const { asked } of [plain, secure, other]) asked.length = 0;
});
afterAll(() => Promise.all([plain, secure, other].map((server) => server?.stop())));

describe.each([
  ['plain HTTP', () => plain],
  ['TLS', () => secure],
])('over %s', (_, of) => {
  it('views and paths are read, with the token and the headers of the source', async () => {
    const server = of();
    expect(await worker().rows('SELECT sum(id)::INT FROM web.numbers', attached(site(server)))).toEqual([
      [3],
    ]);
    const rows = await worker().rows(`FROM '${server.url}/open/b.csv' LIMIT 1`, attached(site(server)));
    expect(rows).toEqual([[1]]);
    for (const { headers } of server.asked)
      expect(headers).toMatchObject({ authorization: `Bearer ${TOKEN}`, 'x-api-key': 'key-hunter2' });
    expect(server.asked.map(({ headers }) => headers['proxy-authorization'])).not.toContainEqual(
      expect.any(String),
    );
  });

  it('nothing beside is asked for', async () => {
    const server = of();
    for (const path of [
      '/open/../closed/a.csv',
      '/open/%2e%2e/closed/a.csv',
      '/closed/a.csv',
      '/open/a.csv?x=1',
    ])
      expect(await worker().failure(`FROM '${server.url}${path}'`, attached(site(server)))).toMatchObject({
        code: 'FORBIDDEN',
      });
    expect(server.asked).toEqual([]);
  });

  it('a redirect to another host ends before it gets there', async () => {
    const failed = await worker().failure(`FROM '${of().url}/open/away.csv'`, attached(site(of())));
    expect(JSON.stringify(failed)).not.toMatch(/hunter2/);
    expect(other.asked).toEqual([]);
  });

  it('failures say whose they are, and hold no secret', async () => {
    const failed = await worker().failure('FROM web.gone', attached(site(of())));
    expect(failed).toMatchObject({ code: 'SOURCE_UNAVAILABLE', members: { source: 'web' } });
    expect(JSON.stringify(failed)).not.toMatch(/hunter2/);
  });
});

it('a redirect below the source is followed, and over plain HTTP none that leads out of it', async () => {
  const read = (path: string) => worker().answer(`FROM '${plain.url}/open/${path}'`, attached(site(plain)));
  expect((await read('moved.csv')).finished.verdict).toMatchObject({ ok: true });
  for (const path of ['astray.csv', 'dots.csv']) {
    plain.asked.length = 0;
    expect((await read(path)).finished.verdict).toMatchObject({ ok: false });
    expect(plain.asked.filter((request) => request.path.includes('closed'))).toEqual([]);
  }
});

it('a server whose certificate nobody vouches for is not read, and is not sent the token', async () => {
  const unknown = site(secure);
  delete unknown.sslCa;
  const failed = await worker().failure('FROM web.numbers', attached(unknown));
  expect(failed).toMatchObject({ code: 'SOURCE_UNAVAILABLE', detail: expect.stringMatching(/SSL/) });
  expect(secure.asked).toEqual([]);
});

it('two sources of one server are read with a token each', async () => {
  const deeper = site(plain, { alias: 'deeper', url: `${plain.url}/open/deep/`, bearerToken: 'other' });
  const both = attached(site(plain), deeper);
  await worker().rows(`FROM '${plain.url}/open/deep/a.csv', web.numbers`, both);
  const tokens = (part: string) =>
    new Set(plain.asked.filter(({ path }) => path === part).map(({ headers }) => headers.authorization));
  expect(tokens('/open/deep/a.csv')).toEqual(new Set(['Bearer other']));
  expect(tokens('/open/a.csv')).toEqual(new Set([`Bearer ${TOKEN}`]));
});
