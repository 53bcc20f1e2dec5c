/**
 * The fault matrix: each fault at each moment of a query, as a real server answers. One cell is one strike, and what the query at
 * that moment is told, in a few words: `502 crash SIGSEGV`, `200 attempts 2`, `422 MEMORY_LIMIT`.
 *
 * What a cell says is certain: where two deaths would race (a stuck worker is killed for its silence, or for the query that
 * does not stop), its pool has the patience of one of them short and of the other one long.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { checkProblem } from '../../src/cli/chaos/contract.ts';
import { readFlightRecord } from '../../src/workers/flight-recorder.ts';
import { FAULTS as ALL_FAULTS, type Fault, isStartFault } from '../../src/workers/protocol.ts';
import {
  call,
  quickPool,
  type Reply,
  type Settings,
  type TestServer,
  until,
} from '../support/test-server.ts';
import { ENDLESS } from './deaths.ts';

/** But for the one that needs a database server to be one (test/e2e/session-sources.test.ts). */
export const FAULTS: readonly Fault[] = ALL_FAULTS.filter((fault) => fault !== 'stale-catalogs');

export const MOMENTS = [
  ...(['idle', 'starting', 'queued', 'attaching'] as const),
  ...(['preparing', 'running', 'replying', 'cancelling'] as const),
];
export type Moment = (typeof MOMENTS)[number];

/** The server that a matrix is of: alone, or with the reserve and the second attempt that a server has by default. */
export interface Variant {
  readonly title: string;
  readonly reserve: number;
  readonly retries: number;
}
export const VARIANTS: readonly Variant[] = [
  { title: 'No reserve, no retry', reserve: 0, retries: 0 },
  { title: 'A reserve, and one retry', reserve: 1, retries: 1 },
];

export const HARD_LIMIT = 600_000_000;

/** Does not fit into the memory it asks for. */
const SPILLS = 'SELECT max(h) FROM (SELECT md5(i::VARCHAR) AS h FROM range(1000000) t(i) ORDER BY h)';

/** Stuck when they are to be cancelled: to exit, node waits for native work. Their pool loses patience with the query first. */
const STUCK: ReadonlySet<Fault> = new Set<Fault>(['sigstop', 'hang', 'exit', 'exit-0', 'exit-1']);

/** Which of the pools plays a cell. */
export function laneOf(fault: Fault, moment: Moment): Lane {
  if (moment === 'starting') return 'starting';
  return moment === 'cancelling' && STUCK.has(fault) ? 'stuck' : 'any';
}
export type Lane = 'any' | 'starting' | 'stuck';

/** By name; several of the kind that plays most. */
export function matrixPools(reserve: number): Record<string, Settings> {
  const pool = (settings = {}) => quickPool({ reserve, memory_hard_limit: HARD_LIMIT, ...settings });
  // Whoever dies of its own is not to be killed before, however late it reads of the cancellation.
  const any = pool({ cancel_grace: '15s' });
  return {
    ...{ 'any-1': any, 'any-2': any, 'any-3': any },
    // A worker that says nothing before it is ready is given up by its start timeout.
    starting: pool({ start_timeout: '5s' }),
    stuck: pool({ cancel_grace: '200ms', heartbeat: { interval: '50ms', timeout: '15s' } }),
  };
}

export interface Cell {
  readonly server: TestServer;
  readonly variant: Variant;
  readonly pool: string;
  readonly fault: Fault;
  readonly moment: Moment;
}

/** Strikes, and resolves with what the cell says once the pool is as it was before. */
export async function play(cell: Cell): Promise<string> {
  await atRest(cell);
  const { id, incarnation } = active(cell);
  const outcome = await strike(cell, id, incarnation);
  await recovered(cell, id, incarnation);
  return outcome;
}

async function strike(cell: Cell, id: string, first: number): Promise<string> {
  switch (cell.moment) {
    case 'idle':
      return whileIdle(cell, id, first);
    case 'starting':
      return whileStarting(cell, id, first);
    case 'queued':
      return whileQueued(cell, id);
    case 'cancelling':
      return whileCancelling(cell, id);
    default:
      return atPhase(cell, id, cell.moment);
  }
}

/** Nothing is at work; the queries come before anybody can know, or, where what is struck still works for a moment, behind it. */
async function whileIdle(cell: Cell, id: string, first: number): Promise<string> {
  await arm(cell, id, { worker: id });
  if (LINGERING.has(cell.fault)) await until('it has died', () => hasBegunAnew(cell, id, first));
  return same(await Promise.all([1, 2, 3].map((n) => ask(cell, `SELECT ${n}`))));
}

const LINGERING: ReadonlySet<Fault> = new Set<Fault>(['channel-garbage', 'channel-close', 'heartbeat-loss']);

/** The successor of one that died is struck, and queries wait for it where nobody else is there. */
async function whileStarting(cell: Cell, id: string, first: number): Promise<string> {
  const { fault, server } = cell;
  if (isStartFault(fault)) await order(cell, { worker: id }, fault);
  await order(cell, { worker: id }, 'sigkill');
  await until('the next one starts', () => status(cell, id).incarnation > first);
  const replies = Promise.all([1, 2].map((n) => ask(cell, `SELECT ${n}`)));
  await until('the fault has had its effect', () => {
    const { incarnation, state } = status(cell, id);
    if (isStartFault(fault) || incarnation > first + 1) return incarnation > first;
    // It can be told as soon as it is configured, and neither a heartbeat nor a query is lost by then.
    const worker = server.workers(cell.pool).find((entry) => entry.status().id === id);
    if (state === 'starting') worker?.ref.tell({ type: 'fault', fault, phase: undefined });
    return (fault === 'heartbeat-loss' || fault === 'disk-full') && ['idle', 'reserve'].includes(state ?? '');
  });
  return same(await replies);
}

/** One runs, six wait behind it: what the six are told. */
async function whileQueued(cell: Cell, id: string): Promise<string> {
  const { server } = cell;
  const query_id = `victim-of-${idOf(cell)}`;
  const victim = ask(cell, ENDLESS, { query_id });
  await untilAtWork(cell, query_id);
  const behind = Promise.all([1, 2, 3, 4, 5, 6].map((n) => ask(cell, `SELECT ${n}`)));
  await arm(cell, id, { worker: id });
  // Where it lives on, or is tried again, it is in everybody's way until somebody cancels it.
  let hasEnded = false;
  void victim.finally(() => {
    hasEnded = true;
  });
  await until('it has ended, or goes on', async () => {
    if (hasEnded || cell.fault === 'disk-full') return true;
    const { attempts } = (await server.get(`/v1/queries/${query_id}`)).body;
    return attempts > 1;
  });
  await server.cancel(query_id);
  await victim;
  return same(await behind);
}

async function whileCancelling(cell: Cell, id: string): Promise<string> {
  const query_id = `cancelled-${idOf(cell)}`;
  await arm(cell, id, { query: query_id, phase: 'cancelling' });
  const victim = ask(cell, ENDLESS, { query_id });
  await untilAtWork(cell, query_id);
  const { outcome } = (await cell.server.cancel(query_id)).body;
  const reply = await victim;
  if (reply.status !== 409) {
    expect(outcome).toBe('already_finished');
    return outcomeOf(cell, reply);
  }
  expect(reply.body).toMatchObject({ code: 'QUERY_CANCELLED', cancelled_by: 'anonymous' });
  return `409 ${outcome}`;
}

async function atPhase(
  cell: Cell,
  id: string,
  phase: 'attaching' | 'preparing' | 'running' | 'replying',
): Promise<string> {
  const { fault, variant } = cell;
  const query_id = `struck-${idOf(cell)}`;
  await arm(cell, id, { query: query_id, phase });
  // Silence takes its time to be noticed, which a short query does not need: a long one shows it, where it is not tried again.
  const isLong = fault === 'heartbeat-loss' && phase !== 'replying' && variant.retries === 0;
  const isLarge = fault === 'disk-full' && phase !== 'replying';
  return outcomeOf(
    cell,
    await ask(cell, isLong ? ENDLESS : isLarge ? SPILLS : 'SELECT 42', {
      query_id,
      ...(isLarge && { memory_limit: '20MB' }),
      sources: phase === 'attaching' ? ['landing'] : [],
    }),
  );
}

/** A fault of a start is had by the successor of a worker that dies at this moment. */
async function arm(cell: Cell, worker: string, target: object): Promise<void> {
  if (!isStartFault(cell.fault)) return order(cell, target, cell.fault);
  await order(cell, { worker }, cell.fault);
  await order(cell, target, 'sigkill');
}

async function order({ server }: Cell, target: object, fault: Fault): Promise<void> {
  expect(await call(server.url, 'POST', '/v1/chaos', { target, fault })).toMatchObject({ status: 202 });
}

function ask({ server, pool }: Cell, sql: string, fields = {}): Promise<Reply> {
  return server.query(sql, { pool, ...fields });
}

/** They were all told the same. */
function same(replies: readonly Reply[]): string {
  const told = new Set(replies.map(({ status, body }) => `${status} ${body.code ?? body.stats.attempts}`));
  for (const [index, { status, body }] of replies.entries()) {
    if (status === 200) expect(body.data).toEqual([[index + 1]]);
  }
  return [...told].map((each) => (each === '200 1' ? '200' : each)).join(', ');
}

function outcomeOf(cell: Cell, reply: Reply): string {
  const { status, body, headers } = reply;
  if (status === 200) {
    expect(body.data).toEqual([[42]]);
    return body.stats.attempts === 1 ? '200' : `200 attempts ${body.stats.attempts}`;
  }
  expect(checkProblem({ status, headers, body: '', ms: reply.ms }, body)).toEqual([]);
  if (body.code === 'MEMORY_LIMIT') expect(body.limit).toBe(HARD_LIMIT);
  if (body.code !== 'WORKER_CRASHED') return `${status} ${body.code}`;
  // The log says the same of it as the client hears.
  const { id, ...worker } = body.worker;
  const { cause } = body;
  const blamed = { worker: id, pid: worker.pid, incarnation: worker.incarnation, phase: worker.phase, cause };
  const exits = cell.server.events('worker.exited').filter(({ crash_id }) => crash_id === body.crash_id);
  expect(exits).toMatchObject([{ ...blamed, query_id: body.query_id }]);
  return `${status} ${cause} ${worker.signal ?? `exit ${worker.exit_code}`}`;
}

/** The struck worker has a successor, and the pool answers as if nothing had been. */
async function recovered(cell: Cell, id: string, first: number): Promise<void> {
  // A full disk is no death: the worker has to go, since those that follow want another one.
  if (cell.fault === 'disk-full') await order(cell, { worker: id }, 'sigkill');
  const more = cell.fault === 'crash-at-start' ? 2 : 1;
  await until(`${id} has its next incarnation`, () => status(cell, id).incarnation >= first + more);
  await atRest(cell);
  expect((await ask(cell, 'SELECT 42')).body).toMatchObject({ data: [[42]], stats: { attempts: 1 } });
}

async function atRest({ server, pool, variant }: Cell): Promise<void> {
  await until(`pool ${pool} is at rest`, () => {
    const states = server.workers(pool).map((worker) => worker.status().state);
    return states.toSorted().join() === ['idle', ...Array(variant.reserve).fill('reserve')].join();
  });
}

/** The worker that takes queries. */
function active({ server, pool }: Cell) {
  const entry = server.workers(pool).find((worker) => worker.status().state === 'idle');
  return (entry as NonNullable<typeof entry>).status();
}

function status(
  { server, pool }: Cell,
  id: string,
): { readonly incarnation: number; readonly state?: string } {
  return (
    server
      .workers(pool)
      .map((worker) => worker.status())
      .find((each) => each.id === id) ?? { incarnation: 0 }
  );
}

function hasBegunAnew(cell: Cell, id: string, first: number): boolean {
  return status(cell, id).incarnation > first;
}

/** The router calls a query running when it is the first one with its worker; this is when the worker has begun it. */
async function untilAtWork({ server, pool }: Cell, queryId: string): Promise<void> {
  await until('the worker is at work', () => {
    const busy = server.workers(pool).map((worker) => worker.status());
    const worker = busy.find((each) => each.queryId === queryId);
    if (worker === undefined) return false;
    const [run = ''] = readdirSync(join(server.dataDir, 'run'));
    const folder = join(server.dataDir, 'run', run, `${worker.id}-${worker.incarnation}`);
    return readFlightRecord(folder).phase === 'running';
  });
}

function idOf({ fault, moment, variant }: Cell): string {
  return `${fault}-${moment}-${variant.retries}`;
}
