/**
 * The composition root: the supervision tree, from top to bottom as docs/supervision-tree.md draws it.
 *
 * Everything is made here and handed down; nothing below reaches for a global.
 */

import { randomBytes } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { ActorSystem } from './actors/actor.ts';
import { Directory, type Key } from './actors/directory.ts';
import { asConfiguredNow, placeQuery } from './actors/placement.ts';
import type { PoolQueueMessage } from './actors/pool-queue.ts';
import { PoolStatus } from './actors/pool-status.ts';
import { type QueryRouterMessage, queryRouter } from './actors/query-router.ts';
import { queryService } from './actors/query-service.ts';
import { QueryTable } from './actors/query-table.ts';
import { Quotas } from './actors/quota.ts';
import { SourceCircuits, verdictOf } from './actors/source-circuit.ts';
import { sourceNames } from './actors/source-names.ts';
import { WorkerRoster } from './actors/worker-roster.ts';
import { chaosService } from './chaos.ts';
import { changesKeys, revoked } from './config/changes.ts';
import { ReplacedCredentials } from './config/credentials.ts';
import { publicConfig } from './config/describe.ts';
import { LiveConfig } from './config/live-config.ts';
import type { LoadedConfig } from './config/load.ts';
import { isLoopback } from './config/loopback.ts';
import type { PoolConfig } from './config/pools.ts';
import type { Config } from './config/schema.ts';
import { secretsIn } from './config/secret.ts';
import { CrashLedger } from './crashes/crash-ledger.ts';
import { Redactor } from './crashes/redact.ts';
import { Egress } from './egress/egress.ts';
import { EgressExitError } from './egress/egress-process.ts';
import { Exports } from './exports/exports.ts';
import { Failure, shuttingDown } from './failures.ts';
import { createApp } from './http/app.ts';
import { EventStreams } from './http/event-streams.ts';
import { Listener, type ListeningAddress } from './http/listener.ts';
import { operationsService } from './operations.ts';
import { Reloader, type ReloadOutcome, type ReloadTrigger } from './reload.ts';
import { Restarts } from './restarts.ts';
import { ResultStore } from './results/result-store.ts';
import { poolOfSession, sessionOfPool } from './sessions/session-pool.ts';
import { settingsFor } from './sessions/session-request.ts';
import { Sessions } from './sessions/sessions.ts';
import { type SlotHooks, Slots } from './sessions/slots.ts';
import { sourceService } from './source-service.ts';
import { actorChild } from './supervisors/actor-child.ts';
import type { ChildSpec } from './supervisors/child-spec.ts';
import { SHUTDOWN } from './supervisors/exit-reason.ts';
import { Pool } from './supervisors/pool.ts';
import { type PoolMember, Pools } from './supervisors/pools.ts';
import type { SupervisorEvent } from './supervisors/supervisor-event.ts';
import type { SupervisorHandle } from './supervisors/supervisor-handle.ts';
import { startSupervisor } from './supervisors/supervisor-start.ts';
import { AuditLog, auditSettings } from './telemetry/audit-log.ts';
import { EventLog } from './telemetry/event-log.ts';
import { Events } from './telemetry/events.ts';
import { type Logger, logEvents } from './telemetry/log.ts';
import { Metrics } from './telemetry/metrics.ts';
import { VERSION } from './version.ts';
import { launchOf, workerProcess } from './worker-launch.ts';
import { RunFolders } from './workers/run-folder.ts';
import { WorkerExitError } from './workers/worker-exit.ts';

/** For replies to queries that were turned away when the drain timeout was over. */
const LAST_WORDS_MS = 1_000;
/** Ended queries that `GET /v1/queries` still shows. */
const KEPT_QUERIES = 1_000;

export interface Server {
  readonly url: string;
  /** The workers there are; how chaos reaches them. */
  readonly roster: WorkerRoster;
  /** What serves finished exports, and makes the links to them. */
  readonly egress: Egress;
  /** Resolves when some pool takes queries. */
  readonly ready: Promise<void>;
  /** Reads the configuration anew and puts the differences in force. */
  reload(trigger: ReloadTrigger): Promise<ReloadOutcome>;
  /** Drains and stops everything; resolves when no process, socket or folder is left. Safe to call again. */
  stop(): Promise<void>;
  /** Resolves when the tree has ended, by `stop` or because the root gave up. */
  readonly ended: Promise<void>;
}

/**
 * Starts the tree. `load` reads the configuration anew, for reloads. Rejects where the address cannot be had; nothing is left
 * then.
 */
export async function startServer(
  config: Config,
  log: Logger,
  load: () => Promise<LoadedConfig>,
): Promise<Server> {
  const live = new LiveConfig(config);
  const events = new Events();
  const actors = new ActorSystem({ onFault: (where, error) => events.emit('fault', { where, error }) });
  const directory = new Directory(actors);
  const roster = new WorkerRoster();
  const folders = await RunFolders.open(config.data_dir);
  const workspaces = await RunFolders.open(config.data_dir, 'sessions');
  const run = randomBytes(6).toString('hex');
  const table = new QueryTable(KEPT_QUERIES, () => actors.clock.now(), run);
  const redactor = new Redactor(secretsIn(config));
  const crashes = await CrashLedger.open({
    folder: join(config.data_dir, 'crashes'),
    config: () => live.current,
    redactor,
    versions: { duckcoop: VERSION, node: process.version },
    clock: actors.clock,
    events,
  });
  const results = await ResultStore.open({
    dataDir: config.data_dir,
    settings: () => live.current.results,
    clock: actors.clock,
    onFault: (error) => events.emit('fault', { where: 'result-store', error }),
  });
  const routerKey: Key<QueryRouterMessage> = { name: 'query-router' };
  const queries = queryService({ actors, directory, routerKey, table });
  const eventLog = new EventLog({ events, run });
  const audit = new AuditLog(events, () => auditSettings(live.current));
  const circuits = new SourceCircuits({
    now: () => actors.clock.now(),
    configured: (alias) => live.current.sources[alias],
    onSilent: (source, retryAfterMs) => events.emit('source.silent', { source, retryAfterMs }),
    onAnswer: (source) => events.emit('source.answers', { source }),
  });
  const quotas = new Quotas(() => live.current.limits);
  const queueKey = (name: string): Key<PoolQueueMessage> => ({ name: `pool:${name}/queue` });
  const isLocal = isLoopback(config.server.host);
  let draining = false;
  let drainUntil: number | undefined;
  let root: SupervisorHandle | undefined;
  const restarts = new Restarts({ root: () => root, roster, events, clock: actors.clock });
  let address: ListeningAddress | undefined;
  let eventStreams: EventStreams | undefined;

  const onFault = (error: unknown) => events.emit('fault', { where: 'pools', error });
  const onEvent = (event: SupervisorEvent) => {
    events.emit('supervisor', event);
    const error = defectIn(event);
    if (error !== undefined) events.emit('fault', { where: event.path, error });
  };

  const unavailable = (name: string): Failure => {
    if (draining) return shuttingDown();
    const session = sessionOfPool(name);
    if (session !== undefined) return sessions.unavailable(session);
    // A pool that is not configured any more is down for good.
    return (
      pools.status(name)?.unavailable() ??
      new Failure('POOL_DOWN', `Pool ${name} is not there any more.`, {
        retryAfter: 1,
        members: { pool: name },
      })
    );
  };

  const telemetry: ChildSpec = {
    id: 'telemetry',
    start: ({ exited }) => {
      const end = logEvents(events, log, {
        slowQueryMs: () => live.current.telemetry.slow_query,
        redact: (text) => redactor.redact(text),
      });
      const stop = () => {
        end();
        exited(SHUTDOWN);
      };
      return { stop, kill: stop };
    },
  };

  /** By the pool's name, and kept as long as the pool is there: one may leave the configuration and come back before it has gone. */
  const launches = new Map<string, string>();
  const poolNamed = (name: string, settings: PoolConfig): PoolMember => {
    launches.set(name, launchOf(live.current, settings, folders));
    return poolOf(name, settings, undefined);
  };
  const poolOf = (name: string, settings: PoolConfig, session: SlotHooks | undefined): PoolMember => {
    const key = queueKey(name);
    const report = (message: QueryRouterMessage) => directory.whereis(routerKey)?.tell(message);
    const status: PoolStatus = new PoolStatus({
      pool: name,
      clock: actors.clock,
      workers: () => ({ serving: roster.serving(name), size: pool.settings.size }),
      onChange: (from, state) => {
        if (session === undefined)
          events.emit('pool.state', { pool: name, from, state, retryAfterMs: undefined });
        else if (state === 'up') session.onReady();
        else session.onRecovering();
      },
      onDown: (from, retryAfterMs) => {
        if (session === undefined)
          events.emit('pool.state', { pool: name, from, state: 'down', retryAfterMs });
        else session.onDown();
      },
    });
    const id = sessionOfPool(name);
    const pool: Pool = new Pool({
      name,
      ...(id === undefined ? {} : { id }),
      settings,
      status,
      queue: {
        pool: name,
        key,
        directory,
        roster,
        settings: () => ({
          size: pool.settings.size,
          reserve: pool.settings.reserve,
          max: pool.settings.queue.max,
          window: pool.settings.dispatch_window,
        }),
        admission: {
          refusal: (job) => {
            const { queryId, origin, statement } = job;
            const refusal = crashes.refusal({ queryId, ...origin, sql: statement.sql }, name);
            if (refusal !== undefined || session !== undefined || statement.attachAnew) return refusal;
            return circuits.begin(queryId, origin.sources);
          },
          allowance: ({ origin }) => crashes.allowance(origin.principal, name),
          mayBegin: ({ origin }, running) => quotas.mayBegin(origin.principal, running),
          overcrowded: ({ origin }, waiting) => quotas.overcrowded(origin.principal, waiting),
        },
        report,
        unavailable: () => unavailable(name),
      },
      worker: (current) => ({
        pool: name,
        process: workerProcess(live.current, current, folders, session?.workspace),
        ...(session === undefined ? {} : { onVolatile: session.onVolatile, isSpare: session.isSpare }),
        recordDeath: (death) => crashes.record(death),
        asConfiguredNow: (job) => asConfiguredNow(job, live.current),
        settings: () => ({
          cancelGraceMs: pool.settings.cancel_grace,
          recycle: {
            maxQueries: pool.settings.recycle.max_queries,
            maxAgeMs: pool.settings.recycle.max_age,
          },
        }),
        queueKey: key,
        directory,
        roster,
        report,
        unavailable: () => unavailable(name),
        events,
      }),
      tellWorkers: (message, which) => {
        for (const worker of roster.ofPool(name)) if (which(worker.status().id)) worker.ref.tell(message);
      },
      tellQueue: (message) => directory.whereis(key)?.tell(message),
      onEvent,
      onFault,
    });
    const drained = async () => {
      const queue = directory.whereis(key);
      if (queue !== undefined)
        await actors.ask<PoolQueueMessage, void>(queue, (reply) => ({ type: 'drain', reply }));
    };
    return { pool, status, drained };
  };

  const pools = new Pools({ settings: config.pools, create: poolNamed, onEvent, onFault });
  const onSessionFault = (error: unknown) => events.emit('fault', { where: 'sessions', error });
  const slots = new Slots({
    config: () => live.current,
    clock: actors.clock,
    folders: workspaces,
    createPool: (id, settings, hooks) => poolOf(poolOfSession(id), settings, hooks),
    launchOf: (settings) => launchOf(live.current, settings, folders),
    spareSettings: () => settingsFor({}, live.current),
    isDraining: () => draining,
    onEvent,
    onFault: onSessionFault,
  });
  const sessions: Sessions = new Sessions({
    config: () => live.current,
    clock: actors.clock,
    slots,
    table,
    queries,
    events,
    onFault: onSessionFault,
  });
  // The first of them once queries are served: their workers come first.
  events.on('pool.state', ({ state }) => {
    if (state === 'up') slots.settle();
  });
  const exports = await Exports.open({
    config: () => live.current,
    dataDir: config.data_dir,
    clock: actors.clock,
    queries,
    links: {
      sign: (...file) => (egress.url === undefined ? undefined : egress.sign(...file)),
    },
    onFault: (error) => events.emit('fault', { where: 'exports', error }),
  });
  const egress: Egress = new Egress({
    config: () => live.current,
    folder: await realpath(exports.folder),
    events,
    onEvent,
    stopWithinMs: () => Math.max(LAST_WORDS_MS, (drainUntil ?? 0) - actors.clock.now()),
  });
  const metrics = new Metrics({
    events,
    actors,
    roster,
    pools: () => pools.statuses(),
    quarantined: () => crashes.quarantined().length,
    sessions: () => sessions.counts().set('spare', slots.spares),
    runFolders: () => folders.count(),
    keptResultBytes: () => results.usedBytes,
    exportBytes: () => exports.usedBytes,
  });
  const replaced = new ReplacedCredentials();
  const reloader = new Reloader({
    live,
    load: async () => {
      const loaded = await load();
      return loaded.ok ? { ...loaded, config: replaced.apply(loaded.config) } : loaded;
    },
    isStopping: () => draining,
    events,
    apply: async (before) => {
      // Whoever reads one has shown a key that may be worth nothing by now, and can show it again.
      if (changesKeys(before, live.current)) eventStreams?.disconnect();
      const gone = revoked(before, live.current);
      if (gone.size > 0) directory.whereis(routerKey)?.tell({ type: 'revoke', principals: gone });
      for (const name of gone) void sessions.endSessionsOf(name).catch(onFault);
      redactor.learn(secretsIn(live.current));
      log.level = live.current.telemetry.log_level;
      await pools.reconfigure(live.current.pools, (name, settings) => {
        const before = launches.get(name);
        launches.set(name, launchOf(live.current, settings, folders));
        return launches.get(name) !== before;
      });
      await egress.reconfigure();
      slots.settle();
      // What waits for a quota may begin now.
      for (const { pool } of pools.statuses())
        directory.whereis(queueKey(pool))?.tell({ type: 'settings-changed' });
    },
  });

  const router = actorChild<QueryRouterMessage>({
    id: 'query-router',
    ...queryRouter({
      key: routerKey,
      directory,
      table,
      place: (request) =>
        request.session === undefined
          ? placeQuery(request, live.current)
          : sessions.place(request, request.session),
      sources: () => Object.keys(live.current.sources),
      refusal: (request, pool) => {
        const { queryId, principal, sql } = request;
        const refusal = crashes.refusal({ queryId, principal, sql, sources: sourceNames(request) }, pool);
        // A session has a worker of its own, and a check is to find out.
        if (refusal !== undefined || request.session !== undefined || request.attachAnew) return refusal;
        return circuits.refusal(queryId, request.sources);
      },
      onEnd: ({ queryId, origin }, failure) =>
        circuits.ended(queryId, origin.sources, verdictOf(failure, origin.sources)),
      overQuota: ({ principal }) => quotas.submit(principal, actors.clock.now()),
      delivered: ({ principal }, bytes) => quotas.delivered(principal, bytes, actors.clock.now()),
      beginResult: () => results.begin(),
      maxRetries: () => live.current.retry.max,
      queueKey,
      unavailable,
      events,
    }),
  });

  const http: ChildSpec = {
    id: 'http',
    // It ends by itself within the drain timeout.
    shutdown: 'infinity',
    start: async ({ exited }) => {
      const streams = new EventStreams();
      eventStreams = streams;
      const app = createApp({
        queries,
        sources: sourceService({ live, queries, replaced, reloader, events }),
        sessions,
        exports,
        crashes,
        chaos: chaosService({
          enabled: () => live.current.chaos.enabled,
          pools: () => pools.statuses().map(({ pool }) => pool),
          roster,
          table,
        }),
        operations: operationsService({
          statuses: () => pools.statuses(),
          roster,
          metrics,
          config: () => publicConfig(live.current),
          reloader,
          snapshot: () => (root as SupervisorHandle).snapshot(),
          isSpare: (sessionId) => slots.isSpare(sessionId),
          restarts,
          isDraining: () => draining,
        }),
        auth: () => live.current.auth,
        // Whoever says --insecure on another address has said that anybody may come.
        allowedHosts: () =>
          live.current.auth.mode === 'none' && isLocal ? live.current.server.allowed_hosts : undefined,
        onAuthFailure: (why) => events.emit('auth.failed', { why }),
        limits: {
          get maxBodyBytes() {
            return live.current.server.max_body;
          },
          get maxResultBytes() {
            return live.current.server.max_result;
          },
        },
        eventStreams: streams,
        eventLog,
        onError: (error, context) =>
          events.emit('fault', { where: `${context.method} ${context.path}`, error }),
        onRequest: (event) => {
          metrics.countRequest(event);
          events.emit('request.answered', event);
        },
      });
      const listener = new Listener(app.callback(), {
        get clientWriteTimeoutMs() {
          return live.current.server.client_write_timeout;
        },
      });
      // A restarted listener takes the port it had, so that clients find it again.
      address = await listener.listen(config.server.host, address?.port ?? config.server.port);
      // What runs when the time is over is answered before its connection goes.
      const end = (timeoutMs: number) => {
        streams.close();
        const cancelTimer = actors.clock.setTimer(timeoutMs, () =>
          directory.whereis(routerKey)?.tell({ type: 'turn-away', kept: draining }),
        );
        // Queries that nobody waits for go on where the listener alone begins anew.
        const idle = draining ? queries.idle() : undefined;
        void Promise.all([listener.drain(timeoutMs + LAST_WORDS_MS), idle]).then(() => {
          cancelTimer();
          exited(SHUTDOWN);
        });
      };
      return { stop: () => end(live.current.server.drain_timeout), kill: () => end(0) };
    },
  };

  const closeAll = async () => {
    await actors.stopAll();
    await crashes.close();
    restarts.close();
    eventLog.close();
    metrics.close();
    await results.close();
    await exports.close();
    sessions.closeAll();
    await slots.closeAll();
    await folders.close();
    await audit.close();
  };

  try {
    root = await startSupervisor(actors, {
      name: 'root',
      strategy: 'one_for_one',
      intensity: 5,
      periodMs: 10_000,
      onEvent,
      children: [telemetry, pools.spec(), slots.spec(), router, egress.spec(), http],
    });
  } catch (error) {
    await closeAll();
    throw error;
  }

  const tree = root;
  const ended = tree.exited.then(closeAll);
  const isReady = () => pools.statuses().some((status) => status.isReady);
  return {
    url: (address as ListeningAddress).url,
    roster,
    egress,
    ready: new Promise((resolve) => {
      const off = events.on('worker.ready', () => {
        off();
        resolve();
      });
      if (isReady()) resolve();
    }),
    reload: (trigger) => reloader.reload(trigger),
    stop: async () => {
      draining = true;
      drainUntil ??= actors.clock.now() + live.current.server.drain_timeout;
      await tree.stop();
      await ended;
    },
    ended,
  };
}

/** A process that died is what supervision is for; any other child that failed is a defect of ours. */
function defectIn(event: SupervisorEvent): unknown {
  if (event.type === 'child_start_failed') return event.reason;
  if (event.type !== 'child_exited' || event.reason.kind !== 'error') return undefined;
  const { error } = event.reason;
  return error instanceof WorkerExitError || error instanceof EgressExitError ? undefined : error;
}
