/** What is watched beside the load: that the API answers, and which workers die. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Server } from '../client.ts';
import { followEvents } from '../event-stream.ts';
import { exchange } from './exchange.ts';
import { countIn, type Tally } from './tally.ts';

const HEALTH_EVERY_MS = 50;
/** So long without an answer of `/healthz` is a failure. */
const HEALTH_PATIENCE_MS = 10_000;
/** So many failures without one success in between: the server is not there any more. */
const GONE_AFTER = 3;

export class HealthWatch {
  checks = 0;
  slowestMs = 0;
  #failures = 0;

  /** Until `signal` is aborted. Tells `gone` where the server does not answer any more. */
  async watch(server: Server, tally: Tally, signal: AbortSignal, gone: () => void): Promise<void> {
    const request = { method: 'GET', path: 'healthz' };
    while (!signal.aborted) {
      const exchanged = await exchange(server, request, { patienceMs: HEALTH_PATIENCE_MS });
      this.checks += 1;
      const ms = exchanged.kind === 'reply' ? exchanged.reply.ms : HEALTH_PATIENCE_MS;
      this.slowestMs = Math.max(this.slowestMs, ms);
      if (exchanged.kind === 'reply' && exchanged.reply.status === 200) this.#failures = 0;
      else {
        this.#failures += 1;
        const why = exchanged.kind === 'broken' ? exchanged.why : exchanged.kind;
        tally.violation('/healthz did not answer 200', request, why);
        if (this.#failures >= GONE_AFTER) gone();
      }
      await sleep(HEALTH_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** Resolves once the stream is there, with its end, which comes after `signal` is aborted. */
export async function watchDeaths(
  server: Server,
  pool: string,
  tally: Tally,
  signal: AbortSignal,
): Promise<{ readonly ended: Promise<void> }> {
  const news = followEvents(server, signal);
  await news.next();
  const follow = async () => {
    for await (const item of news) {
      if (item.kind !== 'event') continue;
      if (item.type === 'gap') tally.lostEvents += 1;
      if (item.type === 'worker.exited') exited(JSON.parse(item.data) as Exited, pool, tally);
    }
  };
  return { ended: follow() };
}

interface Exited {
  readonly pool: string;
  readonly cause: string;
  readonly signal: string | null;
  readonly exit_code: number | null;
}

function exited({ pool, cause, signal, exit_code }: Exited, own: string, tally: Tally): void {
  if (pool !== own) return;
  tally.lastTroubleAt = performance.now();
  // A worker that is replaced is no death.
  if (cause === 'recycled' || cause === 'shutdown') return;
  const how = signal ?? (exit_code === null ? undefined : `exit code ${exit_code}`);
  countIn(tally.deaths, how === undefined ? cause : `${cause} (${how})`);
  tally.recovery.died(performance.now());
}
