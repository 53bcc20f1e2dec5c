import { expect, it } from 'vitest';
import type { QueryResult } from '../../src/actors/query.ts';
import { Failure } from '../../src/failures.ts';
import { reader } from '../support/principals.ts';
import { PRINCIPAL, poolHarness } from './pool-harness.ts';

function scene() {
  const pool = poolHarness();
  pool.startRouter();
  pool.startQueue();
  return pool;
}

it('a query is succeeded once, and later reports of it change nothing', async () => {
  const { run, startWorker, turns, router, outcomes, ended, faults, service } = scene();
  const worker = startWorker();
  run('a');
  await turns();
  worker.ref.tell({ type: 'finish' });
  await turns();
  router()?.tell({ type: 'running', queryId: 'a', worker: 'w' });
  router()?.tell({ type: 'requeued', queryId: 'a' });
  const end = { ok: false, failure: new Failure('INTERNAL', ''), runMs: 0, killed: false } as const;
  router()?.tell({ type: 'ended', queryId: 'a', end });
  await turns();
  expect(outcomes.get('a')).toBe('succeeded');
  expect(service.get('a', PRINCIPAL)?.state).toBe('succeeded');
  expect(ended).toEqual(['a']);
  expect(faults).toEqual([]);
});

it('a query whose worker died before it had read of it counts one attempt, and no time at work', async () => {
  const { run, startWorker, turns, router, service, faults, begun } = scene();
  startWorker();
  run('a');
  await turns();
  expect(service.get('a', PRINCIPAL)).toMatchObject({ state: 'running', attempts: 1 });
  router()?.tell({ type: 'requeued', queryId: 'a' });
  await turns();
  expect(service.get('a', PRINCIPAL)).toMatchObject({
    state: 'queued',
    attempts: 0,
    runMs: 0,
    worker: undefined,
  });
  expect(begun).toEqual(['a']);
  expect(faults).toEqual([]);
});

it('a transition that nobody declared is a fault that is counted, and the query goes on', async () => {
  const { run, startWorker, turns, router, faults, outcomes } = scene();
  const worker = startWorker();
  run('a');
  await turns();
  router()?.tell({ type: 'dispatched', queryId: 'a', worker: 'w' });
  await turns();
  expect(String(faults[0])).toMatch(/no transition from running to dispatched/);
  worker.ref.tell({ type: 'finish' });
  await turns();
  expect(outcomes.get('a')).toBe('succeeded');
});

it('an id that is taken is refused, also after its query has ended, and abandoning the refused one stops nothing', async () => {
  const { run, startWorker, turns, outcomes, service } = scene();
  const worker = startWorker();
  const first = run('a');
  await turns();
  const second = service.run({ queryId: 'a', principal: PRINCIPAL, tags: {}, sources: [] } as never);
  await expect(second.result).rejects.toMatchObject({ code: 'QUERY_ID_REUSED' });
  second.abandon();
  await turns();
  expect(outcomes.size).toBe(0);
  worker.ref.tell({ type: 'finish' });
  await first.result;
  first.abandon();
  await expect(service.run({ queryId: 'a' } as never).result).rejects.toMatchObject({
    code: 'QUERY_ID_REUSED',
  });
});

it('a cancel is answered once the query has ended, and by how it ended', async () => {
  const { run, startWorker, turns, service } = scene();
  const worker = startWorker();
  run('a');
  run('b');
  await turns();
  const answers = [
    service.cancel('b', PRINCIPAL),
    service.cancel('a', PRINCIPAL),
    service.cancel('z', PRINCIPAL),
  ];
  expect(await Promise.all(answers)).toEqual(['cancelled', 'cancelled', undefined]);
  expect(await service.cancel('a', PRINCIPAL)).toBe('already_finished');
  run('c');
  await turns();
  // The result overtakes the cancel.
  worker.ref.tell({ type: 'finish' });
  expect(await service.cancel('c', PRINCIPAL)).toBe('already_finished');
  expect(service.get('c', PRINCIPAL)?.state).toBe('succeeded');
});

it('a router that crashes leaves no client without an answer, and no worker at work for nobody', async () => {
  const { run, startRouter, startWorker, turns, outcomes, service, crashRouter, faults } = scene();
  const worker = startWorker();
  run('a');
  run('b');
  await turns();
  crashRouter();
  run('c');
  await turns();
  // The last one it had not read: it is safe to send again.
  expect(Object.fromEntries(outcomes)).toEqual({ a: 'INTERNAL', b: 'INTERNAL', c: 'SHUTTING_DOWN' });
  expect(worker.jobs).toHaveLength(2);
  startRouter();
  await turns();
  expect(worker.jobs).toEqual([]);
  expect(service.get('a', PRINCIPAL)).toMatchObject({ state: 'failed' });
  run('d');
  await turns();
  worker.ref.tell({ type: 'finish' });
  await turns();
  expect(outcomes.get('d')).toBe('succeeded');
  expect(faults).toEqual([]);
});

it('a pool without a queue turns queries away', async () => {
  const pool = poolHarness();
  pool.startRouter();
  pool.run('a');
  await pool.turns();
  expect(pool.outcomes.get('a')).toBe('POOL_DOWN');
});

it('a query that has ended holds neither its statement nor its result', async () => {
  const { run, startWorker, turns, table } = scene();
  const worker = startWorker();
  const { result } = run('a');
  await turns();
  worker.jobs[0]?.sink.write(Buffer.from('[[1]]'));
  worker.ref.tell({ type: 'finish' });
  const { body } = (await result) as QueryResult;
  expect(Buffer.concat([...body]).toString()).toBe('[[1]]');
  const { pending, ...record } = table.find('a') ?? {};
  expect(pending).toBeUndefined();
  expect(Object.values(record).filter((value) => typeof value === 'function')).toEqual([]);
});

it("somebody else's query is none that can be seen or cancelled, and its id is taken all the same", async () => {
  const { run, startWorker, turns, service } = scene();
  const worker = startWorker();
  run('a');
  await turns();
  const stranger = reader('stranger', { role: 'writer' });
  expect(service.get('a', stranger)).toBeUndefined();
  expect(await service.cancel('a', stranger)).toBeUndefined();
  expect(worker.jobs).toHaveLength(1);
  const second = service.run({ queryId: 'a', principal: stranger, tags: {}, sources: [] } as never);
  await expect(second.result).rejects.toMatchObject({
    code: 'QUERY_ID_REUSED',
    message: 'The query_id a is taken; choose another one.',
    members: {},
  });
  second.abandon();
  await turns();
  expect(service.get('a', PRINCIPAL)?.state).toBe('running');
  expect(await service.cancel('a', reader('ops', { role: 'operator' }))).toBe('cancelled');
});
