/** What a worker process is started with, by the configuration. */
import type { WorkerActorOptions } from './actors/worker-actor.ts';
import type { PoolConfig } from './config/pools.ts';
import type { Config } from './config/schema.ts';
import type { SourceConfig } from './config/sources.ts';
import { WORKER_MAIN } from './workers/launch.ts';
import type { RunFolders } from './workers/run-folder.ts';
import { extensionsOf, type Needs } from './workers/source-extensions.ts';

/** What the workers of a pool are started with, to be compared: those that began with something else are replaced. */
export function launchOf(config: Config, settings: PoolConfig, folders: RunFolders): string {
  const { configure, ...rest } = workerProcess(config, settings, folders);
  // What a source needs is loaded when it is first needed, by workers that were there before it as well.
  return JSON.stringify({ ...rest, configure: { ...configure, extensions: config.extensions } });
}

/** `workspace` is the database file of the session whose worker it is. */
export function workerProcess(
  config: Config,
  settings: PoolConfig,
  folders: RunFolders,
  workspace?: string,
): WorkerActorOptions['process'] {
  const needed = new Set(Object.values(config.sources).flatMap((source) => extensionsOf(needsOf(source))));
  return {
    main: WORKER_MAIN,
    folders,
    startTimeoutMs: settings.start_timeout,
    heartbeatTimeoutMs: settings.heartbeat.timeout,
    configure: {
      threads: settings.threads,
      memoryLimit: settings.memory_limit,
      memoryHardLimit: settings.memory_hard_limit,
      tempLimit: settings.temp_limit,
      extensions: {
        directory: config.extensions.directory,
        names: config.extensions.load.filter((name) => needed.has(name)),
        onDemand: config.extensions.load,
      },
      attached: { max: settings.attached.max, idleMs: settings.attached.idle_timeout },
      allowFunctions: config.sql.allow_functions,
      heartbeatMs: settings.heartbeat.interval,
      niceness: settings.nice,
      chaos: config.chaos.enabled,
      ...(workspace === undefined ? {} : { workspace }),
    },
  };
}

function needsOf(source: SourceConfig): Needs {
  if (source.kind !== 'ducklake') return source;
  const { kind, catalog, data_path } = source;
  return {
    kind,
    catalog: { kind: 'path' in catalog ? 'file' : 'postgres' },
    ...(data_path.includes('://') && { bucket: data_path }),
  };
}
