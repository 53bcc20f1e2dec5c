/**
 * A run of chaos: load and faults for a while, then quiet, then what is left.
 *
 * ```
 *   before      storm                                 calm                        after
 *   footprint   clients, faults, /healthz, deaths     no faults; until quiet,     footprint, until it is no
 *                                                     then queries that succeed   more than before
 * ```
 */
import { randomBytes } from 'node:crypto';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from '../../workers/protocol.ts';
import type { Server } from '../client.ts';
import { messageOf } from '../exit.ts';
import { type Footprint, footprintOf, isQuiet, leaksBetween } from './footprint.ts';
import { injectFaults } from './injector.ts';
import { type Load, LoadFactory } from './load.ts';
import { type LoadClientOptions, runLoad } from './load-client.ts';
import { findRunFolder, strays } from './local-processes.ts';
import { type Report, reportOf } from './report.ts';
import { Tally } from './tally.ts';
import { HealthWatch, watchDeaths } from './watches.ts';

export interface StormOptions {
  readonly server: Server;
  readonly pool: string;
  readonly faults: readonly Fault[];
  /** Faults in a second. */
  readonly rate: number;
  readonly durationMs: number;
  readonly concurrency: number;
  /** Of the server's configuration; times in milliseconds. */
  readonly settings: StormSettings;
  /** Told every few seconds. */
  readonly onProgress: (elapsedMs: number, tally: Tally) => void;
}

export interface StormSettings {
  readonly timeoutMs: number;
  readonly queueTimeoutMs: number;
  readonly heartbeatTimeoutMs: number;
  readonly startTimeoutMs: number;
  readonly maxResult: number;
  readonly maxRetries: number;
  /** A source that can be attached. */
  readonly source: string | undefined;
}

const PROGRESS_EVERY_MS = 5_000;
const LOOK_EVERY_MS = 200;
/** Beyond the server's own times: until all is quiet, and until what was used is given back. */
const PATIENCE_MS = 30_000;

/** Until its duration is over, or `interrupted` is aborted. Rejects where the server cannot be had at all. */
export async function storm(options: StormOptions, interrupted: AbortSignal): Promise<Report> {
  const { server, pool, durationMs, settings } = options;
  const run = `chaos-${randomBytes(4).toString('hex')}`;
  const tally = new Tally();
  const health = new HealthWatch();
  const before = await footprintOf(server, run);
  const runFolder = await findRunFolder(before.workers);

  const watching = new AbortController();
  /** The storm is over: its time is, somebody has interrupted it, or the server is gone. */
  const over = new AbortController();
  let isGone = false;
  const deaths = await watchDeaths(server, pool, tally, watching.signal);
  const healthy = health.watch(server, tally, watching.signal, () => {
    isGone = true;
    over.abort();
  });
  const agent = newAgent(server);
  const client: LoadClientOptions = { server, agent, tally };
  const factory = new LoadFactory({ run, pool, ...settings, faults: options.faults }, Math.random);

  const started = performance.now();
  const timer = setTimeout(() => over.abort(), durationMs);
  if (interrupted.aborted) over.abort();
  interrupted.addEventListener('abort', () => over.abort());
  const progress = setInterval(
    () => options.onProgress(performance.now() - started, tally),
    PROGRESS_EVERY_MS,
  );
  await rage(options, client, factory, over.signal);
  clearTimeout(timer);
  clearInterval(progress);
  const elapsedMs = performance.now() - started;

  if (!isGone) {
    await calm(options, before, run, tally);
    await probe(before.workers.length * 2, client, factory);
  }
  watching.abort();
  agent.destroy();
  await Promise.all([healthy, deaths.ended.catch((error: unknown) => eventsFailed(error, tally))]);
  const after = isGone ? undefined : await afterwards(server, before, run, runFolder);
  return reportOf({
    ...{ server, pool, elapsedMs, tally, health, before, after: after?.footprint },
    leaks: after?.leaks ?? ['the server does not answer any more'],
    processesSeen: runFolder !== undefined,
    interrupted: interrupted.aborted,
  });
}

/** Clients and faults, until `over` is aborted and every client has its last reply. */
async function rage(
  options: StormOptions,
  client: LoadClientOptions,
  factory: LoadFactory,
  over: AbortSignal,
): Promise<void> {
  const { concurrency, settings } = options;
  /** Those that a fault waits for go first. */
  const struck: Load[] = [];
  const work = async () => {
    while (!over.aborted) await runLoad(struck.shift() ?? factory.next(), client);
  };
  await Promise.all([
    injectFaults(
      {
        ...options,
        ...{ factory, source: settings.source, tally: client.tally, random: Math.random },
        send: (load) => struck.push(load),
      },
      over,
    ),
    ...Array.from({ length: concurrency }, work),
  ]);
}

/** Resolves once no worker is about to die any more and all of them are at rest, or that has taken too long. */
async function calm(
  { server, settings }: StormOptions,
  before: Footprint,
  run: string,
  tally: Tally,
): Promise<void> {
  // Who fell silent is not known to be dead before that.
  const quietMs = settings.heartbeatTimeoutMs * 1.5 + 1_000;
  const end = performance.now() + quietMs + settings.startTimeoutMs + PATIENCE_MS;
  while (performance.now() < end) {
    await sleep(LOOK_EVERY_MS);
    if (performance.now() - tally.lastTroubleAt < quietMs) continue;
    const now = await footprintOf(server, run).catch(() => undefined);
    if (now !== undefined && isQuiet(now, before)) return;
  }
}

/** Where nothing dies, everything succeeds; but for a crash budget, which outlasts the crashes. */
async function probe(times: number, client: LoadClientOptions, factory: LoadFactory): Promise<void> {
  for (let time = 0; time < times; time += 1) {
    const load = factory.make('point');
    const outcome = await runLoad(load, client);
    if (outcome !== 'succeeded' && outcome !== 'CRASH_BUDGET_EXCEEDED')
      client.tally.violation(`${outcome}, when all was quiet again`, load.request, '');
  }
}

interface Afterwards {
  readonly footprint: Footprint;
  readonly leaks: readonly string[];
}

/** What is left over when it has had time to go. */
async function afterwards(
  server: Server,
  before: Footprint,
  run: string,
  runFolder: string | undefined,
): Promise<Afterwards> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const footprint = await footprintOf(server, run);
    const leaks = leaksBetween(before, footprint);
    if (runFolder !== undefined) leaks.push(...(await strays(runFolder, footprint.workers)));
    if (leaks.length === 0 || performance.now() > end) return { footprint, leaks };
    await sleep(LOOK_EVERY_MS);
  }
}

function eventsFailed(error: unknown, tally: Tally): void {
  tally.violation(`the stream of events failed: ${messageOf(error)}`, 'GET v1/supervision/events', '');
}

function newAgent({ url }: Server): HttpAgent {
  const options = { keepAlive: true };
  return url.protocol === 'https:' ? new HttpsAgent(options) : new HttpAgent(options);
}
