/** Metrics in the Prometheus format, counted from events; gauges are read when somebody asks. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ActorSystem } from '../actors/actor.ts';
import type { PoolStatus } from '../actors/pool-status.ts';
import type { WorkerRoster } from '../actors/worker-roster.ts';
import { AUTH_FAILURES } from '../http/auth.ts';
import type { RequestEvent } from '../http/services.ts';
import { poolLabel } from '../sessions/session-pool.ts';
import type { Events } from './events.ts';

export interface MetricsOptions {
  readonly events: Events;
  readonly actors: ActorSystem;
  readonly roster: WorkerRoster;
  readonly pools: () => readonly PoolStatus[];
  /** How many statements are quarantined. */
  readonly quarantined: () => number;
  /** How many sessions there are, by their state. */
  readonly sessions: () => ReadonlyMap<string, number>;
  /** How many run folders of workers there are. */
  readonly runFolders: () => Promise<number>;
  /** Bytes of the results that are kept. */
  readonly keptResultBytes: () => number;
  /** Bytes of the files of exports, on this server's disk. */
  readonly exportBytes: () => number;
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

export class Metrics {
  readonly registry = new Registry();
  readonly #requests: Counter<'method' | 'route' | 'status'>;
  readonly #end: () => void;

  constructor(options: MetricsOptions) {
    collectDefaultMetrics({ register: this.registry });
    this.#requests = this.#counter('http_requests_total', 'HTTP requests answered', [
      'method',
      'route',
      'status',
    ]);
    this.#addGauges(options);
    const ends = this.#subscribe(options.events);
    this.#end = () => {
      for (const end of ends) end();
    };
  }

  countRequest({ method, route, status }: RequestEvent): void {
    this.#requests.inc({ method, route: route ?? 'unknown', status: String(status) });
  }

  async read(): Promise<{ contentType: string; body: string }> {
    return { contentType: this.registry.contentType, body: await this.registry.metrics() };
  }

  close(): void {
    this.#end();
    this.registry.clear();
  }

  #subscribe(events: Events): (() => void)[] {
    const queries = this.#counter('queries_total', 'Queries ended, by outcome', ['pool', 'outcome']);
    const duration = this.#histogram('query_duration_seconds', 'From submission to the end', ['pool']);
    const queued = this.#histogram('query_queue_seconds', 'From submission to the start on a worker', [
      'pool',
    ]);
    const exits = this.#counter('worker_exits_total', 'Worker processes that ended, by cause', [
      'pool',
      'cause',
    ]);
    const restarts = this.#counter('supervisor_restarts_total', 'Restarts that counted', ['supervisor']);
    const poolDowns = this.#counter('pool_down_total', 'Times a pool passed its restart intensity', ['pool']);
    const retries = this.#counter('query_retries_total', 'Queries tried again on another worker', ['pool']);
    const reloads = this.#counter('config_reloads_total', 'Reloads of the configuration', ['outcome']);
    const crashes = this.#counter('crashes_total', 'Crash reports, by cause', ['pool', 'cause']);
    const refused = this.#counter('refused_total', 'Queries turned away for the crashes before them', [
      'code',
    ]);
    const faults = this.#counter('faults_total', 'Things that should not happen, contained', ['where']);
    const auth = this.#counter('auth_failures_total', 'Requests refused for their key', ['reason']);
    // There from the start: an alarm on its increase would miss the first one.
    for (const reason of AUTH_FAILURES) auth.inc({ reason }, 0);
    return [
      events.on('auth.failed', ({ why }) => auth.inc({ reason: why })),
      events.on('query.ended', ({ pool, outcome, totalMs, queueMs }) => {
        queries.inc({ pool: poolLabel(pool), outcome });
        duration.observe({ pool: poolLabel(pool) }, totalMs / 1_000);
        queued.observe({ pool: poolLabel(pool) }, queueMs / 1_000);
      }),
      events.on('query.retried', ({ pool }) => retries.inc({ pool: poolLabel(pool) })),
      events.on('worker.exited', ({ pool, cause }) => exits.inc({ pool: poolLabel(pool), cause })),
      events.on('supervisor', (event) => {
        if (event.type === 'intensity') restarts.inc({ supervisor: event.supervisor });
      }),
      events.on('pool.state', ({ pool, state }) => {
        if (state === 'down') poolDowns.inc({ pool });
      }),
      events.on('config.reloaded', () => reloads.inc({ outcome: 'applied' })),
      events.on('config.refused', () => reloads.inc({ outcome: 'refused' })),
      events.on('crash.recorded', ({ pool, cause }) => crashes.inc({ pool: poolLabel(pool), cause })),
      events.on('query.refused', ({ code }) => refused.inc({ code })),
      events.on('fault', ({ where }) => faults.inc({ where })),
    ];
  }

  #addGauges({
    actors,
    roster,
    pools,
    quarantined,
    runFolders,
    keptResultBytes,
    exportBytes,
    sessions,
  }: MetricsOptions): void {
    this.#gauge('workers', 'Worker processes, by state', ['pool', 'state'], (gauge) => {
      gauge.reset();
      for (const { status } of roster.all())
        gauge.inc({ pool: poolLabel(status().pool), state: status().state });
    });
    this.#gauge('pool_up', '1 when the pool takes queries', ['pool'], (gauge) => {
      gauge.reset();
      for (const status of pools()) gauge.set({ pool: status.pool }, status.isReady ? 1 : 0);
    });
    this.#gauge('quarantined', 'Statements that are held back', [], (gauge) => gauge.set(quarantined()));
    this.#gauge('sessions', 'Sessions, by state', ['state'], (gauge) => {
      gauge.reset();
      for (const [state, count] of sessions()) gauge.set({ state }, count);
    });
    this.#gauge('run_folders', 'Folders of worker processes', [], async (gauge) =>
      gauge.set(await runFolders()),
    );
    this.#gauge('kept_result_bytes', 'Bytes of kept results', [], (gauge) => gauge.set(keptResultBytes()));
    this.#gauge('export_bytes', 'Bytes of exports', [], (gauge) => gauge.set(exportBytes()));
    this.#gauge('actors', 'Live actors', [], (gauge) => gauge.set(actors.stats.live));
    this.#gauge('dead_letters', 'Messages to actors that were gone', [], (gauge) =>
      gauge.set(actors.stats.deadLetters),
    );
  }

  #counter<Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> {
    return new Counter({ name: `duckcoop_${name}`, help, labelNames, registers: [this.registry] });
  }

  #histogram<Label extends string>(name: string, help: string, labelNames: Label[]): Histogram<Label> {
    return new Histogram({
      name: `duckcoop_${name}`,
      help,
      labelNames,
      buckets: SECONDS,
      registers: [this.registry],
    });
  }

  #gauge<Label extends string>(
    name: string,
    help: string,
    labelNames: Label[],
    read: (gauge: Gauge<Label>) => void | Promise<void>,
  ): void {
    const gauge: Gauge<Label> = new Gauge({
      name: `duckcoop_${name}`,
      help,
      labelNames,
      registers: [this.registry],
      collect: () => read(gauge),
    });
  }
}
