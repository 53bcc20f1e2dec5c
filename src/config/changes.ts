/** What a new configuration changes, and how each change takes effect. Pure. */
import { isMapping, type Path, pathText } from './problems.ts';
import type { Config } from './schema.ts';
import { Secret } from './secret.ts';

/**
 * `in_place`: from now on. `workers_replaced`: for workers that start from now on; those there are drained and replaced one
 * after the other. `new_version`: queries that begin from now on use it, those that run are not disturbed.
 * `restart_needed`: not before the server is started anew; what was in force stays in force.
 */
export type Effect = 'in_place' | 'workers_replaced' | 'new_version' | 'restart_needed';

export interface ConfigChange {
  readonly path: string;
  readonly effect: Effect;
}

/** The first pattern that a path begins with decides; `*` stands for any name. */
const EFFECTS: readonly (readonly [readonly string[], Effect])[] = [
  [['server', 'host'], 'restart_needed'],
  [['server', 'port'], 'restart_needed'],
  [['data_dir'], 'restart_needed'],
  // Whether keys may be done without was checked against the address in the file, which is not the one that is listened on.
  [['auth', 'mode'], 'restart_needed'],
  [['reload', 'watch'], 'restart_needed'],
  [['telemetry', 'otlp_endpoint'], 'restart_needed'],
  [['sources'], 'new_version'],
  [['extensions'], 'workers_replaced'],
  [['sql', 'allow_functions'], 'workers_replaced'],
  [['chaos'], 'workers_replaced'],
  ...[
    'threads',
    'memory_limit',
    'memory_hard_limit',
    'temp_limit',
    'nice',
    'start_timeout',
    'heartbeat',
    'attached',
  ].map((key): [string[], Effect] => [['pools', '*', key], 'workers_replaced']),
  [[], 'in_place'],
];

/** Every value that is not what it was, by its path; never a value itself. */
export function configChanges(before: Config, after: Config): ConfigChange[] {
  return differences(before, after).map((path) => ({ path: pathText(path), effect: effectOf(path) }));
}

/** Whether two parts of a configuration say the same, secrets included. */
export function isSame(one: unknown, other: unknown): boolean {
  return differences(one, other).length === 0;
}

/** The new configuration with what cannot change while the server runs as it was. */
export function withoutRestartNeeded(before: Config, after: Config): Config {
  return {
    ...after,
    server: { ...after.server, host: before.server.host, port: before.server.port },
    data_dir: before.data_dir,
    auth: { ...after.auth, mode: before.auth.mode },
    reload: before.reload,
    telemetry: { ...after.telemetry, otlp_endpoint: before.telemetry.otlp_endpoint },
  };
}

/** Whether keys, roles or what principals may do are not what they were. */
export function changesKeys(before: Config, after: Config): boolean {
  return !isSame(before.auth, after.auth);
}

/** Whose key, role or rights are not what they were: what they opened with the old ones ends. */
export function revoked(before: Config, after: Config): ReadonlySet<string> {
  return new Set(differences(before.auth.principals, after.auth.principals).map(([name]) => String(name)));
}

function effectOf(path: Path): Effect {
  const matches = (pattern: readonly string[]) =>
    pattern.every((part, index) => index < path.length && (part === '*' || part === path[index]));
  return EFFECTS.find(([pattern]) => matches(pattern))?.[1] as Effect;
}

/** Compares tens of thousands of values while the server serves: what is the same costs next to nothing. */
function differences(before: unknown, after: unknown): Path[] {
  const found: Path[] = [];
  const path: string[] = [];
  const compare = (one: unknown, other: unknown): void => {
    if (one === other) return;
    if (one instanceof Secret || other instanceof Secret) {
      const isSame = one instanceof Secret && other instanceof Secret && one.reveal() === other.reveal();
      if (!isSame) found.push([...path]);
    } else if (isMapping(one) && isMapping(other)) {
      for (const key of Object.keys(one)) inside(key, one[key], other[key]);
      for (const key of Object.keys(other)) if (!Object.hasOwn(one, key)) inside(key, undefined, other[key]);
    } else if (JSON.stringify(one) !== JSON.stringify(other)) {
      found.push([...path]);
    }
  };
  const inside = (key: string, one: unknown, other: unknown): void => {
    path.push(key);
    compare(one, other);
    path.pop();
  };
  compare(before, after);
  return found;
}
