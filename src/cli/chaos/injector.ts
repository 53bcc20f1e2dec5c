/** Faults at a rate: some for one of the pool's workers, some for a query of the load when it comes to a phase. */
import { setTimeout as sleep } from 'node:timers/promises';
import { QUERY_PHASES } from '../../chaos.ts';
import { type Fault, isStartFault } from '../../workers/protocol.ts';
import type { Server } from '../client.ts';
import { checkProblem, parsed } from './contract.ts';
import { exchange } from './exchange.ts';
import type { Load, LoadFactory } from './load.ts';
import { shown } from './load-client.ts';
import type { LoadKind } from './statements.ts';
import { countIn, type Tally } from './tally.ts';

export interface InjectorOptions {
  readonly server: Server;
  readonly pool: string;
  readonly faults: readonly Fault[];
  /** Faults in a second, on average. */
  readonly rate: number;
  readonly factory: LoadFactory;
  /** A source that can be attached; undefined where the server has none. */
  readonly source: string | undefined;
  /** Takes a query that a fault waits for. */
  readonly send: (load: Load) => void;
  readonly tally: Tally;
  readonly random: () => number;
}

type QueryPhase = (typeof QUERY_PHASES)[number];

/** What comes to each phase. */
const KINDS: Readonly<Record<QueryPhase, readonly LoadKind[]>> = {
  attaching: ['point', 'parameters'],
  preparing: ['point', 'parameters', 'aggregate', 'sql-error'],
  running: ['aggregate', 'large', 'spill', 'cancel', 'timeout'],
  replying: ['point', 'large', 'truncated'],
  cancelling: ['cancel', 'timeout'],
};

const PATIENCE_MS = 30_000;

/** Until `signal` is aborted. */
export async function injectFaults(options: InjectorOptions, signal: AbortSignal): Promise<void> {
  const { rate, random } = options;
  const orders = new Set<Promise<void>>();
  while (!signal.aborted) {
    // As many as come by chance: sometimes two at once.
    const pauseMs = Math.min(60_000, (-Math.log(1 - random()) * 1_000) / rate);
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) break;
    const order = inject(options);
    orders.add(order);
    void order.then(() => orders.delete(order));
  }
  await Promise.all(orders);
}

async function inject(options: InjectorOptions): Promise<void> {
  const { faults, random, pool, tally } = options;
  const fault = oneOf(faults, random);
  if (isStartFault(fault) || random() < 0.5) {
    await order(options, { pool }, fault);
    return;
  }
  const phase = oneOf(
    QUERY_PHASES.filter((name) => name !== 'attaching' || options.source !== undefined),
    random,
  );
  const sources = phase === 'attaching' && options.source !== undefined ? [options.source] : [];
  const load = options.factory.make(oneOf(KINDS[phase], random), sources);
  if (await order(options, { query: load.expected.queryId, phase }, fault)) options.send(load);
  tally.lastTroubleAt = performance.now();
}

/** Whether it was taken. */
async function order(options: InjectorOptions, target: object, fault: Fault): Promise<boolean> {
  const { server, tally } = options;
  const request = { method: 'POST', path: 'v1/chaos', body: { target, fault } };
  const exchanged = await exchange(server, request, { patienceMs: PATIENCE_MS });
  tally.lastTroubleAt = performance.now();
  if (exchanged.kind !== 'reply') {
    tally.violation(`no reply to an order of chaos (${exchanged.kind})`, request, '');
    return false;
  }
  const { reply } = exchanged;
  const document = parsed(reply.body) ?? {};
  if (reply.status === 202 && document.fault === fault) {
    countIn(tally.injected, fault);
    return true;
  }
  const wrong = checkProblem(reply, document);
  // At times none of the pool's workers is there to be struck.
  if (document.code === 'NOT_FOUND' && wrong.length === 0) countIn(tally.notInjected, 'NOT_FOUND');
  else tally.violation(`an order of chaos: ${wrong.join('; ') || 'refused'}`, request, shown(reply));
  return false;
}

function oneOf<Item>(items: readonly Item[], random: () => number): Item {
  return items[Math.floor(random() * items.length)] as Item;
}
