/**
 * How the egress process is started: with an empty environment and, where this Node has a permission model, with the right to
 * read its own code and the exports, and to nothing else: no other file, no process, no thread, no addon.
 * https://nodejs.org/docs/latest-v20.x/api/permissions.html
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The egress program as it is built; the same path from the sources and from dist. */
export const EGRESS_MAIN = fileURLToPath(new URL('../../dist/egress/main.js', import.meta.url));

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

/** The built program, and the packages that it loads. */
function codeFolders(): string[] {
  const { resolve } = createRequire(import.meta.url);
  const packages = ['zod', 'content-disposition'].map((name) => {
    const file = resolve(name);
    return file.slice(0, file.lastIndexOf(`${sep}node_modules${sep}`) + `${sep}node_modules`.length);
  });
  const built = dirname(dirname(EGRESS_MAIN));
  const own = [realpathSync(built), join(dirname(realpathSync(built)), 'package.json')];
  return [...new Set([...own, ...packages])].map((path) => (path.endsWith('.json') ? path : join(path, '*')));
}
