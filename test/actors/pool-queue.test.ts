import { expect, it } from 'vitest';
import type { Job } from '../../src/actors/job.ts';
import { Failure } from '../../src/failures.ts';
import { ADMITS_ALL, PRINCIPAL, poolHarness } from './pool-harness.ts';

function scene(settings = {}) {
  const pool = poolHarness(settings);
  pool.startRouter();
  pool.startQueue();
  return pool;
}

it('jobs begin in the order of their admission', async () => {
  const { run, startWorker, turns, begun } = scene({ window: 0 });
  for (const id of ['a', 'b', 'c']) run(id);
  const worker = startWorker();
  for (const id of ['a', 'b', 'c']) {
    await turns();
    expect(begun.at(-1)).toBe(id);
    worker.ref.tell({ type: 'finish' });
  }
  await turns();
  expect(begun).toEqual(['a', 'b', 'c']);
});

it('as many jobs as the window says are sent ahead to a busy worker', async () => {
  const { run, startWorker, turns } = scene({ window: 2 });
  const worker = startWorker();
  for (const id of ['a', 'b', 'c', 'd', 'e']) run(id);
  await turns();
  expect(worker.jobs.map(({ queryId }) => queryId)).toEqual(['a', 'b', 'c']);
});

it('of idle workers the one that has the sources of a principal attached has its next job, and waits for nothing', async () => {
  const { run, startWorker, turns } = scene({ window: 3 });
  const [first, second] = [startWorker(), startWorker()];
  const nobodys = { sources: ['db'], principal: { ...PRINCIPAL, name: 'q' } };
  run('plain');
  run('attaches', { sources: ['db'] });
  await turns();
  expect([first, second].map(({ jobs }) => jobs[0]?.queryId)).toEqual(['plain', 'attaches']);
  for (const { ref } of [first, second]) ref.tell({ type: 'finish' });
  await turns();
  run('again', { sources: ['db'] });
  run('elsewhere', { sources: ['db'] });
  await turns();
  expect([first, second].map(({ jobs }) => jobs[0]?.queryId)).toEqual(['elsewhere', 'again']);
  for (const { ref } of [first, second]) ref.tell({ type: 'finish' });
  await turns();
  run("another's", nobodys);
  await turns();
  expect(first.jobs[0]?.queryId).toBe("another's");
});

it('jobs that come back one by one take their old places', async () => {
  const { run, startWorker, turns, begun } = scene();
  const worker = startWorker();
  for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) run(id);
  await turns();
  worker.ref.tell({ type: 'long' });
  await turns();
  expect(worker.jobs.map(({ queryId }) => queryId)).toEqual(['a']);
  worker.ref.tell({ type: 'crash' });
  const next = startWorker();
  await turns();
  expect(next.jobs.map(({ queryId }) => queryId)).toEqual(['b', 'c', 'd', 'e']);
  expect(begun).toEqual(['a', 'b']);
});

it('what was sent ahead is taken back for a worker that is idle', async () => {
  const { run, startWorker, turns, begun } = scene();
  startWorker();
  run('a');
  run('b');
  await turns();
  expect(begun).toEqual(['a']);
  startWorker();
  await turns();
  expect(begun).toEqual(['a', 'b']);
});

it('a worker that is asked to give back, and has nothing to give, is sent jobs ahead again', async () => {
  const { run, startWorker, turns, queue } = scene({ window: 1 });
  const worker = startWorker();
  run('a');
  await turns();
  // As when the one sent ahead had begun by the time it was asked for.
  worker.ref.tell({ type: 'give-back' });
  run('b');
  await turns();
  expect(worker.jobs).toHaveLength(2);
  queue()?.tell({ type: 'send-ahead', ref: worker.ref as never, useful: false });
  run('c');
  await turns();
  expect(worker.jobs).toHaveLength(2);
});

it('a job in the mailbox of a worker that is gone goes to another one, as if nothing had happened', async () => {
  const { run, startWorker, system, turns, begun, outcomes, faults } = scene();
  const doomed = startWorker();
  run('a');
  await turns();
  run('b');
  // The queue tells it of `b`, and of `c` when it is stopping already; it reads neither.
  while (begun.length === 0) await turns(1);
  void system.stop(doomed.ref);
  run('c');
  await turns();
  const next = startWorker();
  for (const _ of [1, 2]) {
    await turns();
    next.ref.tell({ type: 'finish' });
  }
  await turns();
  expect(begun).toEqual(['a', 'b', 'c']);
  expect(Object.fromEntries(outcomes)).toEqual({ a: 'INTERNAL', b: 'succeeded', c: 'succeeded' });
  expect(faults).toEqual([]);
});

it('a worker that announces itself twice keeps the jobs that were sent in between', async () => {
  const { run, startWorker, turns, queue, begun, system, outcomes } = scene();
  const worker = startWorker();
  run('a');
  await turns();
  queue()?.tell({ type: 'worker-ready', ref: worker.ref as never, jobs: [] });
  await turns();
  void system.stop(worker.ref);
  run('b');
  const next = startWorker();
  await turns();
  expect(next.jobs.map(({ queryId }) => queryId)).toEqual(['b']);
  expect(begun).toEqual(['a', 'b']);
  expect(outcomes.get('a')).toBe('INTERNAL');
});

it('a queue that is full turns the newest away, even when jobs have come back to it', async () => {
  const { run, startWorker, turns, outcomes } = scene({ max: 2, window: 3 });
  const worker = startWorker();
  for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) run(id);
  await turns();
  worker.ref.tell({ type: 'long' });
  await turns();
  run('g');
  await turns();
  expect(Object.fromEntries(outcomes)).toEqual({ g: 'OVERLOADED' });
});

it('a job that waits too long is answered QUEUE_TIMEOUT, one that waited in a window too', async () => {
  const { run, startWorker, turns, outcomes, clock } = scene();
  const worker = startWorker();
  run('a');
  run('b');
  await turns();
  clock.advance(1_001);
  await turns();
  expect(outcomes.size).toBe(0);
  worker.ref.tell({ type: 'long' });
  await turns();
  clock.advance(0);
  await turns();
  expect(Object.fromEntries(outcomes)).toEqual({ b: 'QUEUE_TIMEOUT' });
});

it('a job that is cancelled on its way back ends at once, not when a worker is free', async () => {
  const { run, service, startWorker, turns, outcomes } = scene();
  const worker = startWorker();
  run('a');
  run('b');
  await turns();
  worker.ref.tell({ type: 'long' });
  const outcome = service.cancel('b', PRINCIPAL);
  await turns();
  expect(await outcome).toBe('cancelled');
  expect(Object.fromEntries(outcomes)).toEqual({ b: 'QUERY_CANCELLED' });
});

it('a queue that crashes answers what waits, and the next one finds the workers and their jobs', async () => {
  const { run, startQueue, startWorker, turns, outcomes, crashQueue, begun, faults } = scene({ window: 1 });
  const worker = startWorker();
  for (const id of ['a', 'b', 'c']) run(id);
  await turns();
  crashQueue();
  await turns();
  expect(Object.fromEntries(outcomes)).toEqual({ c: 'POOL_DOWN' });
  startQueue();
  run('d');
  await turns();
  for (const _ of ['a', 'b', 'd']) {
    worker.ref.tell({ type: 'finish' });
    await turns();
  }
  expect(begun).toEqual(['a', 'b', 'd']);
  expect(faults).toEqual([]);
});

it('what a queue that crashes has not read yet is answered too', async () => {
  const { run, startWorker, turns, outcomes, crashQueue, faults } = scene();
  const worker = startWorker();
  run('a');
  run('b');
  await turns();
  crashQueue();
  // Behind the message it dies of: a new job, and one that a worker gives back.
  run('c');
  worker.ref.tell({ type: 'long' });
  await turns();
  expect(outcomes.get('c')).toBe('POOL_DOWN');
  expect(outcomes.get('b')).toBe('POOL_DOWN');
  worker.ref.tell({ type: 'finish' });
  await turns();
  expect(outcomes.get('a')).toBe('succeeded');
  expect(faults).toEqual([]);
});

it('a query that was cancelled while there was no queue is stopped by the next one', async () => {
  const { run, service, startQueue, startWorker, turns, outcomes, crashQueue, table } = scene();
  startWorker();
  run('a');
  await turns();
  crashQueue();
  await turns();
  // Nobody but the job itself knows.
  const { job } = table.find('a')?.pending ?? {};
  if (job !== undefined) job.cancelledBy = 'me';
  startQueue();
  await turns();
  expect(outcomes.get('a')).toBe('QUERY_CANCELLED');
  expect(await service.cancel('a', PRINCIPAL)).toBe('already_finished');
});

it('as many workers as the size says take jobs; one of the reserve does when one of them goes', async () => {
  const { run, startWorker, turns } = scene({ size: 2, window: 0 });
  const [first, second, third] = [startWorker(), startWorker(), startWorker()];
  for (const id of ['a', 'b', 'c', 'd']) run(id);
  await turns();
  expect([first, second, third].map(({ jobs }) => jobs.length)).toEqual([1, 1, 0]);
  first.ref.tell({ type: 'crash' });
  await turns();
  expect([second, third].map(({ jobs }) => jobs[0]?.queryId)).toEqual(['b', 'c']);
});

it('a read that is tried again takes its old place, with what is left of its times', async () => {
  const { run, startWorker, turns, begun, outcomes, service } = scene({ maxRetries: 1, window: 0 });
  const worker = startWorker();
  for (const id of ['a', 'b']) run(id);
  await turns();
  worker.ref.tell({ type: 'crash' });
  await turns();
  expect(service.get('a', PRINCIPAL)).toMatchObject({ state: 'queued', attempts: 1 });
  const next = startWorker();
  await turns();
  next.ref.tell({ type: 'finish' });
  await turns();
  expect(begun).toEqual(['a', 'a', 'b']);
  expect(outcomes.get('a')).toBe('succeeded');
  expect(service.get('a', PRINCIPAL)).toMatchObject({ state: 'succeeded', attempts: 2 });
});

it('a query that was cancelled while its worker died is not tried again', async () => {
  const { run, startWorker, turns, outcomes, begun, service } = scene({ maxRetries: 1 });
  const worker = startWorker();
  run('a');
  await turns();
  worker.ref.tell({ type: 'crash' });
  void service.cancel('a', PRINCIPAL);
  await turns();
  startWorker();
  await turns();
  expect(begun).toEqual(['a']);
  expect(outcomes.has('a')).toBe(true);
});

it('a pool that drains says so when nothing waits and nothing runs', async () => {
  const { run, startWorker, turns, queue } = scene();
  const worker = startWorker();
  run('a');
  run('b');
  await turns();
  let drained = false;
  queue()?.tell({
    type: 'drain',
    reply: () => {
      drained = true;
    },
  });
  for (const _ of [1, 2]) {
    await turns();
    expect(drained).toBe(false);
    worker.ref.tell({ type: 'finish' });
  }
  await turns();
  expect(drained).toBe(true);
});

it('what waits for its principal to have fewer workers at risk is judged when its turn comes, and not each time', async () => {
  const judged: string[] = [];
  const admission = {
    ...ADMITS_ALL,
    refusal: ({ queryId }: Job) => {
      judged.push(queryId);
      return undefined;
    },
    allowance: ({ origin }: Job) => (origin.principal.name === PRINCIPAL.name ? 1 : Number.POSITIVE_INFINITY),
  };
  const { run, startWorker, turns, begun } = scene({ window: 0, admission });
  const worker = startWorker();
  run('a');
  await turns();
  startWorker();
  for (const id of ['b', 'c', 'd']) run(id);
  // Somebody else's pass them by.
  const other = { ...PRINCIPAL, name: 'other' };
  for (const id of ['x', 'y', 'z']) run(id, { principal: other });
  await turns();
  expect(begun).toEqual(['a', 'x']);
  expect(judged).toEqual(['a', 'x']);
  worker.ref.tell({ type: 'finish' });
  await turns();
  expect(begun).toEqual(['a', 'x', 'b']);
  expect(judged).toEqual(begun);
});

it('who may put no worker at risk is refused, and does not wait', async () => {
  const failure = () => new Failure('CRASH_BUDGET_EXCEEDED', 'too many', { retryAfter: 1 });
  const admission = { ...ADMITS_ALL, refusal: failure, allowance: () => 0 };
  const { run, startWorker, turns, outcomes } = scene({ admission });
  startWorker();
  run('a');
  await turns();
  expect(outcomes.get('a')).toBe('CRASH_BUDGET_EXCEEDED');
});
