/**
 * How the egress process is started: with an empty environment and, where this Node has a permission model, with the right to
 * read its own code and the exports, and to nothing else: no other file, no process, no thread, no addon.
 * https://nodejs.org/docs/latest-v20.x/api/permissions.html
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** The egress program as it is built. */
export const EGRESS_MAIN = createRequire(import.meta.url).resolve('#egress');

export interface EgressLaunch {
  /** The program, compiled. */
  readonly main: string;
  /** Of all exports; it is there. */
  readonly folder: string;
}

/** Starts the process: its channel is on descriptor 3, its stderr is piped. */
export function launchEgress({ main, folder }: EgressLaunch): ChildProcess {
  const flags = permissionFlags([...codeFolders(), main, join(folder, '*')]);
  return spawn(process.execPath, ['--no-warnings', ...flags, main], {
    env: {},
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    // A session of its own: Ctrl-C at a terminal is for the API, which then ends it in order.
    detached: true,
  });
}

/** `known` are the options of this Node. Without any of the model there are none: then only its own care protects the files. */
export function permissionFlags(
  readable: readonly string[],
  known: Pick<ReadonlySet<string>, 'has'> = process.allowedNodeEnvironmentFlags,
): string[] {
  const model = ['--permission', '--experimental-permission'].find((flag) => known.has(flag));
  if (model === undefined) return [];
  // Later versions close the network as well.
  const network = known.has('--allow-net') ? ['--allow-net'] : [];
  return [model, ...network, ...readable.map((path) => `--allow-fs-read=${path}`)];
}

/** The built program, which has in it all that it loads, and the manifest, which says that it is a module. */
function codeFolders(): string[] {
  const { resolve } = createRequire(import.meta.url);
  return [join(dirname(EGRESS_MAIN), '*'), resolve('#manifest')];
}
