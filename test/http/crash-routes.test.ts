import { describe, expect, test } from 'vitest';
import { crashReport } from '../../src/crashes/crash-report.ts';
import type { CrashFilter } from '../../src/crashes/crash-store.ts';
import { Redactor } from '../../src/crashes/redact.ts';
import { death } from '../crashes/deaths.ts';
import { ask, checkForLeaks, openEdge } from './edge.ts';

checkForLeaks();

const ID = '20240131T120000123Z-3f9a2c1b';
const REPORT = crashReport(death(), {
  crashId: ID,
  at: 1_706_702_400_123,
  fingerprint: '0011223344556677',
  includeSql: false,
  redactor: new Redactor(),
  versions: { duckcoop: '1', node: 'v20' },
});
const HELD = {
  fingerprint: '0011223344556677',
  statement: 'select ?',
  crashIds: [ID],
  principals: ['ann'],
  pools: ['interactive'],
  firstCrashAt: 1,
  lastCrashAt: 2,
  since: 2,
  until: 602,
};

describe('crashes', () => {
  test('are listed, with a cursor for more and null at the end', async () => {
    const filters: CrashFilter[] = [];
    const edge = await openEdge({
      crashes: {
        list: (filter) => {
          filters.push(filter);
          return { crashes: [REPORT], next: filter.before === undefined ? ID : undefined };
        },
      },
    });
    const first = await ask(`${edge.url}/v1/crashes`);
    expect(first.json).toMatchObject({
      crashes: [{ crash_id: ID, at: 1_706_702_400_123 }],
      next: expect.any(String),
    });
    const query = `pool=a&cause=killed&principal=ann&fingerprint=f&limit=7&cursor=${first.json.next}`;
    expect((await ask(`${edge.url}/v1/crashes?${query}`)).json.next).toBeNull();
    const none = { pool: undefined, cause: undefined, principal: undefined, fingerprint: undefined };
    expect(filters).toEqual([
      { ...none, before: undefined, limit: 100 },
      { pool: 'a', cause: 'killed', principal: 'ann', fingerprint: 'f', limit: 7, before: ID },
    ]);
  });

  test.each([
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['cause=bad', 'cause'],
    ['cursor=bm9uZQ', 'cursor'],
    ['cursor=', 'cursor'],
    ['pol=a', 'pol'],
  ])('are not listed for %s', async (query, path) => {
    const edge = await openEdge();
    const { status, json } = await ask(`${edge.url}/v1/crashes?${query}`);
    expect([status, json.code, json.errors[0].path]).toEqual([400, 'INVALID_REQUEST', path]);
  });

  test('are shown one by one, and unknown ones are not found', async () => {
    const edge = await openEdge({ crashes: { get: async (id) => (id === ID ? REPORT : undefined) } });
    expect((await ask(`${edge.url}/v1/crashes/${ID}`)).json).toEqual(REPORT);
    const unknown = await ask(`${edge.url}/v1/crashes/..%2F..%2Fetc%2Fpasswd`);
    expect([unknown.status, unknown.json.code]).toEqual([404, 'NOT_FOUND']);
    expect((await ask(`${edge.url}/v1/crashes/${ID}?x=1`)).status).toBe(400);
  });
});

describe('the quarantine', () => {
  test('is listed in the words of the contract', async () => {
    const edge = await openEdge({ crashes: { quarantined: () => [HELD] } });
    expect((await ask(`${edge.url}/v1/quarantine`)).json).toEqual({
      quarantine: [
        {
          fingerprint: '0011223344556677',
          statement: 'select ?',
          crash_ids: [ID],
          since: 2,
          until: 602,
          principals: ['ann'],
        },
      ],
    });
  });

  test('is lifted for one statement, or for all', async () => {
    const lifted: unknown[] = [];
    const edge = await openEdge({
      crashes: {
        lift: (which) => {
          lifted.push(which);
          return which === 'all' ? 2 : which.fingerprint === 'f' ? 1 : 0;
        },
      },
    });
    const url = `${edge.url}/v1/quarantine`;
    expect((await ask(`${url}?fingerprint=f`, { method: 'DELETE' })).json).toEqual({ lifted: 1 });
    const unknown = await ask(`${url}?fingerprint=g`, { method: 'DELETE' });
    expect([unknown.status, unknown.json.code]).toEqual([404, 'NOT_FOUND']);
    expect((await ask(url, { method: 'DELETE' })).json).toEqual({ lifted: 2 });
    expect(lifted).toEqual([{ fingerprint: 'f' }, { fingerprint: 'g' }, 'all']);
  });

  test.each(['fingerprint=', 'fingerprint=a&fingerprint=b', 'fingerprnt=f'])(
    'is not lifted by mistake: %s',
    async (query) => {
      const lifted: unknown[] = [];
      const edge = await openEdge({ crashes: { lift: (which) => lifted.push(which) } });
      expect((await ask(`${edge.url}/v1/quarantine?${query}`, { method: 'DELETE' })).status).toBe(400);
      expect(lifted).toEqual([]);
    },
  );
});
