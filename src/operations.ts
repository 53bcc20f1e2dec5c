/** What operators are shown: readiness, the tree, the workers, the configuration in force. */
import type { PoolStatus } from './actors/pool-status.ts';
import type { WorkerRoster, WorkerStatus } from './actors/worker-roster.ts';
import type { ConfigProblem } from './config/problems.ts';
import { Failure } from './failures.ts';
import type { OperationsService, WorkerView } from './http/services.ts';
import type { Reloader, ReloadStatus } from './reload.ts';
import type { Restarts } from './restarts.ts';
import { poolLabel, sessionOfPool } from './sessions/session-pool.ts';
import type { SupervisionNode } from './supervisors/supervisor-handle.ts';
import type { Metrics } from './telemetry/metrics.ts';

export interface OperationsOptions {
  readonly statuses: () => readonly PoolStatus[];
  readonly roster: WorkerRoster;
  readonly metrics: Metrics;
  /** Secrets removed. */
  readonly config: () => object;
  readonly reloader: Reloader;
  readonly snapshot: () => SupervisionNode;
  /** Whether a session of this id has nobody yet. */
  readonly isSpare: (sessionId: string) => boolean;
  readonly restarts: Restarts;
  readonly isDraining: () => boolean;
}

export function operationsService(options: OperationsOptions): OperationsService {
  return {
    ready: () => ({
      ready: options.statuses().some(({ isReady }) => isReady),
      pools: Object.fromEntries(options.statuses().map(({ pool, state }) => [pool, state])),
    }),
    metrics: () => options.metrics.read(),
    supervision: async () => withSpares(options.snapshot(), options.isSpare),
    restart: (path, requestedBy) => options.restarts.request(path, requestedBy),
    workers: () =>
      options.roster
        .all()
        .map(({ status }) => toView(status(), options.isSpare))
        .sort((one, other) => byName.compare(one.id, other.id)),
    config: () => ({ ...options.config(), reload: reloadView(options.reloader.status) }),
    reload: async () => {
      const outcome = await options.reloader.reload('request');
      if (outcome.ok) return outcome;
      const errors = outcome.problems.map(problemView);
      const detail = `The configuration is wrong at ${errors.length === 1 ? 'one place' : `${errors.length} places`}; nothing has changed.`;
      throw new Failure('INVALID_REQUEST', detail, { members: { errors } });
    },
    isDraining: options.isDraining,
  };
}

function reloadView({ version, loadedAt, refused }: ReloadStatus): object {
  return {
    version,
    loaded_at: loadedAt,
    refused: refused === undefined ? null : { at: refused.at, errors: refused.problems.map(problemView) },
  };
}

function problemView({ path, message, value, line }: ConfigProblem): object {
  return {
    path,
    message,
    ...(value === undefined ? {} : { value }),
    ...(line === undefined ? {} : { line }),
  };
}

const SESSIONS = '/root/sessions';

/** `interactive-2` before `interactive-10`. */
const byName = new Intl.Collator('en', { numeric: true });

/** Says which of the sessions in the tree are spares. */
function withSpares(root: SupervisionNode, isSpare: OperationsOptions['isSpare']): SupervisionNode {
  const marked = (node: SupervisionNode): SupervisionNode =>
    isSpare(node.path.slice(node.path.lastIndexOf('/') + 1)) ? { ...node, note: 'spare' } : node;
  const children = root.children.map((node) =>
    node.path === SESSIONS ? { ...node, children: node.children.map(marked) } : node,
  );
  return { ...root, children };
}

function toView(status: WorkerStatus, isSpare: OperationsOptions['isSpare']): WorkerView {
  const session = sessionOfPool(status.pool);
  return {
    id: status.id,
    pool: poolLabel(status.pool),
    pid: status.pid ?? null,
    state: status.state,
    incarnation: status.incarnation,
    query_id: status.queryId ?? null,
    session_id: session === undefined || isSpare(session) ? null : session,
    rss_bytes: status.rssBytes ?? null,
    uptime_ms: Math.round(status.uptimeMs),
    queries: status.queries,
  };
}
