/**
 * `duckcoop chaos`: load and faults against a server that allows them, every reply held to the contract.
 *
 * Ends well only where nothing broke the contract and nothing is left over. Ctrl-C ends it early, with the report.
 */
import { parseDuration } from '../config/units.ts';
import { DEADLY_FAULTS, FAULTS, type Fault } from '../workers/protocol.ts';
import { ask, listIn, notDuckcoop, type ServerOptions } from './ask.ts';
import { formatReport, isClean } from './chaos/report.ts';
import { type StormSettings, storm } from './chaos/storm.ts';
import { type Server, serverFrom } from './client.ts';
import { CliError, EXIT } from './exit.ts';
import { interrupt } from './interrupt.ts';
import { visibleJson } from './visible.ts';

export interface ChaosOptions extends ServerOptions {
  /** Undefined for all that a worker does not live through. */
  readonly faults?: readonly string[];
  /** Faults in a second. */
  readonly rate: number;
  readonly duration: string;
  readonly concurrency: number;
  readonly pool?: string;
  readonly format: 'text' | 'json';
}

/** Rejects with {@link CliError} for everything that goes wrong, a broken contract included. */
export async function chaosCommand(options: ChaosOptions): Promise<void> {
  const server = serverFrom(options);
  const faults = (options.faults ?? DEADLY_FAULTS).map(faultNamed);
  const durationMs = parseDuration(options.duration);
  if (durationMs === undefined || durationMs === 0)
    throw new CliError(EXIT.usage, `expected a duration such as 30s or 10m, got ${options.duration}`);
  if (options.concurrency < 1) throw new CliError(EXIT.usage, 'expected a concurrency of 1 or more');
  const { pool, settings } = await settingsOf(server, options.pool);

  const interrupted = interrupt();
  const report = await storm(
    {
      ...{ server, pool, faults, rate: options.rate, durationMs, concurrency: options.concurrency, settings },
      onProgress: (elapsedMs, { requests, deathCount, violationCount }) => {
        const line = `${Math.round(elapsedMs / 1_000)} s: ${requests} requests, ${deathCount} deaths, ${violationCount} violations\n`;
        process.stderr.write(line);
      },
    },
    interrupted.signal,
  ).finally(() => interrupted.release());
  process.stdout.write(`${options.format === 'json' ? visibleJson(report) : formatReport(report)}\n`);
  if (isClean(report)) return;
  const { violation_count, leaks } = report;
  throw new CliError(EXIT.failed, `the contract was broken ${violation_count} times; ${leaks.length} leaks`);
}

function faultNamed(name: string): Fault {
  const fault = FAULTS.find((known) => known === name);
  if (fault === undefined)
    throw new CliError(EXIT.usage, `there is no fault ${JSON.stringify(name)}: ${FAULTS.join(', ')}`);
  return fault;
}

/** As `GET /v1/config` has it; any member may be missing. Times are milliseconds. */
interface ServerConfig {
  readonly chaos?: { readonly enabled?: boolean };
  readonly server?: { readonly max_result?: number };
  readonly retry?: { readonly max?: number };
  readonly pools?: Readonly<Record<string, PoolConfig>>;
}

interface PoolConfig {
  readonly timeout: number;
  readonly start_timeout: number;
  readonly queue: { readonly timeout: number };
  readonly heartbeat: { readonly timeout: number };
}

/** Throws unless the server allows chaos and has the pool. */
async function settingsOf(
  server: Server,
  named: string | undefined,
): Promise<{ readonly pool: string; readonly settings: StormSettings }> {
  const { chaos, pools, retry, server: limits }: ServerConfig = await ask(server, 'GET', 'v1/config');
  if (pools === undefined) throw notDuckcoop(server);
  if (chaos?.enabled !== true) {
    const detail = `${server.url.href} does not allow chaos: it kills workers, so the server has to be started with chaos.enabled: true`;
    throw new CliError(EXIT.failed, detail);
  }
  // The one that queries go to that name none.
  const pool = named ?? (Object.hasOwn(pools, 'interactive') ? 'interactive' : Object.keys(pools)[0]);
  const config = pool === undefined ? undefined : pools[pool];
  if (pool === undefined || config === undefined)
    throw new CliError(EXIT.failed, `there is no pool ${pool}: ${Object.keys(pools).join(', ')}`);
  const sources = listIn<{ readonly alias: string; readonly kind: string }>(
    server,
    await ask(server, 'GET', 'v1/sources'),
    'sources',
  );
  return {
    pool,
    settings: {
      timeoutMs: config.timeout,
      queueTimeoutMs: config.queue.timeout,
      heartbeatTimeoutMs: config.heartbeat.timeout,
      startTimeoutMs: config.start_timeout,
      maxResult: limits?.max_result ?? Number.POSITIVE_INFINITY,
      maxRetries: retry?.max ?? 0,
      source: sources.find(({ kind }) => kind === 'files' || kind === 'sqlite')?.alias,
    },
  };
}
