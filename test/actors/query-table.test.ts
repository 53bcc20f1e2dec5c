import { expect, it } from 'vitest';
import type { QueryState } from '../../src/actors/query-state.ts';
import { type QueryRecord, QueryTable } from '../../src/actors/query-table.ts';
import type { Failure } from '../../src/failures.ts';
import { ANONYMOUS } from '../../src/principal.ts';
import { reader } from '../support/principals.ts';

function scene(keep = 10) {
  let now = 0;
  const table = new QueryTable(keep, () => now);
  const add = (queryId: string, state: QueryState = 'queued', pool = 'a', principal = 'p'): QueryRecord => {
    const record: QueryRecord = {
      queryId,
      principal,
      tags: {},
      pool,
      pending: undefined,
      submittedAt: 0,
      receivedAt: now,
      state,
      startedAt: undefined,
      ranMs: 0,
      crash: undefined,
      endedAt: undefined,
      runMs: 0,
      rows: undefined,
      bytes: undefined,
      attempts: 0,
      worker: undefined,
      progress: undefined,
      feed: undefined,
      failure: undefined,
      kept: undefined,
    };
    table.add(record);
    return record;
  };
  const list = (filter = {}, principal = ANONYMOUS) =>
    table.list({ state: undefined, pool: undefined, limit: 100, cursor: undefined, ...filter }, principal);
  return {
    table,
    add,
    list,
    ids: (filter = {}, principal = ANONYMOUS) =>
      list(filter, principal).queries.map(({ queryId }) => queryId),
    at: (ms: number) => (now = ms),
  };
}

it('lists the newest first, page by page', () => {
  const { add, list, ids } = scene();
  for (const id of ['a', 'b', 'c', 'd', 'e']) add(id);
  const first = list({ limit: 2 });
  expect(first.queries.map(({ queryId }) => queryId)).toEqual(['e', 'd']);
  const second = list({ limit: 2, cursor: first.next });
  expect(second.queries.map(({ queryId }) => queryId)).toEqual(['c', 'b']);
  expect(ids({ limit: 2, cursor: second.next })).toEqual(['a']);
  expect(list({ limit: 5 }).next).toBeUndefined();
});

it('lists by the state a client sees, and by pool', () => {
  const { add, ids } = scene();
  add('waits');
  add('ahead', 'dispatched');
  add('streams', 'streaming', 'b');
  add('over', 'failed');
  expect(ids({ state: 'queued' })).toEqual(['ahead', 'waits']);
  expect(ids({ state: 'running' })).toEqual(['streams']);
  expect(ids({ pool: 'b' })).toEqual(['streams']);
});

it('forgets the oldest of those that have ended, and none that has not', () => {
  const { table, add, ids } = scene(2);
  add('lives');
  for (const id of ['a', 'b', 'c']) table.retire(add(id, 'succeeded'));
  expect(ids()).toEqual(['c', 'b', 'lives']);
  expect(table.find('a')).toBeUndefined();
  expect(table.unfinished().map(({ queryId }) => queryId)).toEqual(['lives']);
});

it('a cursor that is none, or whose query is forgotten, is refused', () => {
  const { add, list } = scene();
  add('a');
  expect(() => list({ cursor: 'nonsense' })).toThrow(expect.objectContaining({ code: 'INVALID_REQUEST' }));
});

it('shows each principal its own queries, page by page, and an operator all', () => {
  const { add, list, ids, table } = scene();
  for (const [id, owner] of ['a1', 'b1', 'a2', 'b2', 'a3'].map((id) => [id, id.charAt(0)] as const))
    add(id, 'queued', 'a', owner);
  expect(ids({}, reader('a'))).toEqual(['a3', 'a2', 'a1']);
  expect(ids({}, reader('b', { role: 'writer' }))).toEqual(['b2', 'b1']);
  expect(ids({}, reader('c'))).toEqual([]);
  expect(ids({}, reader('c', { role: 'operator' }))).toEqual(['a3', 'b2', 'a2', 'b1', 'a1']);
  const first = list({ limit: 2 }, reader('a'));
  expect(ids({ limit: 2, cursor: first.next }, reader('a'))).toEqual(['a1']);
  expect(list({ limit: 2 }, reader('b')).next).toBeUndefined();
  expect(table.findFor(reader('a'), 'a1')?.queryId).toBe('a1');
  expect(table.findFor(reader('a'), 'b1')).toBeUndefined();
});

it("a cursor at somebody else's query is refused like one at none", () => {
  const { add, list } = scene();
  add('theirs', 'queued', 'a', 'b');
  const problemOf = (queryId: string) => {
    try {
      list({ cursor: Buffer.from(queryId).toString('base64url') }, reader('a'));
    } catch (error) {
      return (error as Failure).toProblem();
    }
    return undefined;
  };
  expect(problemOf('theirs')).toMatchObject({ code: 'INVALID_REQUEST' });
  expect(problemOf('theirs')).toEqual(problemOf('nothing'));
});

it('counts time in the queue until it runs, and time at work until its end', () => {
  const { table, add, at } = scene();
  const record = add('a');
  at(30);
  expect(table.view(record)).toMatchObject({ queueMs: 30, runMs: 0 });
  Object.assign(record, { state: 'running', startedAt: 40 });
  at(100);
  expect(table.view(record)).toMatchObject({ queueMs: 40, runMs: 60 });
  Object.assign(record, { state: 'succeeded', endedAt: 110, runMs: 65 });
  at(500);
  expect(table.view(record)).toMatchObject({ queueMs: 40, runMs: 65 });
});
