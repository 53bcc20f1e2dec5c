/** Random interleavings of everything that happens to a pool: no query is lost, none is answered twice, none is begun twice. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PRINCIPAL, poolHarness, type ScriptedWorker } from './pool-harness.ts';

type Harness = ReturnType<typeof poolHarness>;

type Event =
  | { readonly type: 'submit' | 'start' | 'queue-crash' | 'queue-stop' | 'router-crash' }
  | { readonly type: 'finish' | 'crash' | 'retire' | 'long' | 'vanish'; readonly worker: number }
  | { readonly type: 'cancel' | 'abandon'; readonly query: number }
  | { readonly type: 'advance'; readonly ms: number }
  | { readonly type: 'turns'; readonly count: number };

const number = fc.nat(20);
const worker = fc
  .constantFrom('finish', 'crash', 'retire', 'long', 'vanish')
  .chain((type) => number.map((index) => ({ type, worker: index }) as Event));
const query = fc
  .constantFrom('cancel', 'abandon')
  .chain((type) => number.map((index) => ({ type, query: index }) as Event));
const turns = fc.integer({ min: 1, max: 4 }).map((count): Event => ({ type: 'turns', count }));
const advance = fc.constantFrom(1, 400, 1_001).map((ms): Event => ({ type: 'advance', ms }));
const plain = (type: 'submit' | 'start' | 'queue-crash' | 'queue-stop' | 'router-crash') =>
  fc.constant<Event>({ type });

/** Mostly work, now and then a disaster. */
const anything = fc.oneof(
  { weight: 12, arbitrary: plain('submit') },
  { weight: 3, arbitrary: plain('start') },
  { weight: 12, arbitrary: worker },
  { weight: 3, arbitrary: query },
  { weight: 8, arbitrary: turns },
  { weight: 2, arbitrary: advance },
  { weight: 1, arbitrary: plain('queue-crash') },
  { weight: 1, arbitrary: plain('queue-stop') },
  { weight: 1, arbitrary: plain('router-crash') },
);

async function play(pool: Harness, events: readonly Event[]): Promise<{ submitted: string[] }> {
  const running: ReturnType<Harness['run']>[] = [];
  const pick = (index: number): ScriptedWorker | undefined => [...pool.workers][index % pool.workers.size];
  for (const event of events) {
    switch (event.type) {
      case 'submit':
        running.push(pool.run(`q-${running.length}`));
        break;
      case 'start':
        pool.startWorker();
        break;
      case 'queue-crash':
        pool.crashQueue();
        break;
      case 'queue-stop': {
        const queue = pool.queue();
        if (queue !== undefined) void pool.system.stop(queue);
        break;
      }
      case 'router-crash':
        pool.crashRouter();
        break;
      case 'vanish': {
        const gone = pick(event.worker);
        if (gone !== undefined) void pool.system.stop(gone.ref);
        break;
      }
      case 'cancel':
        void pool.service.cancel(`q-${event.query % (running.length + 1)}`, PRINCIPAL).catch(() => undefined);
        break;
      case 'abandon':
        running[event.query % (running.length + 1)]?.abandon();
        break;
      case 'advance':
        pool.clock.advance(event.ms);
        break;
      case 'turns':
        await pool.turns(event.count);
        // As their supervisors would.
        if (pool.router() === undefined) pool.startRouter();
        if (pool.queue() === undefined) pool.startQueue();
        break;
      default:
        pick(event.worker)?.ref.tell({ type: event.type });
    }
  }
  return { submitted: running.map(({ queryId }) => queryId) };
}

/** Whatever is left gets its end in peace: a worker finishes it, in more turns than there can be queries. */
async function comeToRest(pool: Harness, submitted: readonly string[]): Promise<void> {
  await pool.turns();
  if (pool.router() === undefined) pool.startRouter();
  if (pool.queue() === undefined) pool.startQueue();
  for (let round = 0; round < submitted.length + 5; round += 1) {
    await pool.turns(8);
    if (pool.workers.size === 0) pool.startWorker();
    await pool.turns(2);
    for (const { ref } of pool.workers) ref.tell({ type: 'finish' });
  }
  await pool.turns();
}

it('every query is answered once, begun no more often than retries allow, and nothing undeclared happens', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anything, { maxLength: 80 }),
      fc.integer({ min: 0, max: 3 }),
      fc.integer({ min: 0, max: 8 }),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 0, max: 2 }),
      async (events, window, max, size, maxRetries) => {
        const pool = poolHarness({ window, max, size, maxRetries });
        try {
          pool.startRouter();
          pool.startQueue();
          const { submitted } = await play(pool, events);
          await comeToRest(pool, submitted);
          expect([...pool.outcomes.keys()].toSorted()).toEqual(submitted.toSorted());
          expect(pool.ended.toSorted()).toEqual(pool.started.toSorted());
          for (const id of new Set(pool.begun)) {
            expect(pool.begun.filter((begun) => begun === id).length).toBeLessThanOrEqual(1 + maxRetries);
          }
          expect(pool.faults).toEqual([]);
          for (const { jobs } of pool.workers) expect(jobs).toEqual([]);
        } finally {
          await pool.stop();
        }
      },
    ),
    { numRuns: 1_000 },
  );
});

it('with one worker at a time, jobs begin in the order of their admission, whatever they went through', async () => {
  const harmless = fc.oneof(
    { weight: 6, arbitrary: plain('submit') },
    // What goes back because the one before it takes long may be overtaken by what was on its way to that worker.
    { weight: 6, arbitrary: worker.filter(({ type }) => type !== 'long') },
    { weight: 1, arbitrary: query },
    { weight: 5, arbitrary: turns },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(harmless, { maxLength: 60 }), async (events) => {
      const pool = poolHarness({ window: 3 });
      try {
        pool.startRouter();
        pool.startQueue();
        let submitted = 0;
        for (const event of events) {
          if (pool.workers.size === 0) {
            // A process takes longer to start than a queue to hear of the end of the one before.
            await pool.turns();
            pool.startWorker();
          }
          // Ids go on from where the last event left them.
          if (event.type === 'submit') {
            pool.run(`q-${submitted}`);
            submitted += 1;
          } else await play(pool, [event]);
        }
        await comeToRest(
          pool,
          Array.from({ length: submitted }, (_, n) => `q-${n}`),
        );
        const order = pool.begun.map((id) => Number(id.slice(2)));
        expect(order).toEqual(order.toSorted((a, b) => a - b));
        expect(pool.outcomes.size).toBe(submitted);
        expect(pool.faults).toEqual([]);
      } finally {
        await pool.stop();
      }
    }),
    { numRuns: 500 },
  );
});
