/** Everything of a server that somebody may get to see, to be searched for credentials. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { childrenOf, commandLineOf, environmentOf } from './processes.ts';
import type { Served } from './server.ts';

/** By where it is: the log, every reply so far, arguments, environments of workers, and files below the data folder. */
export function visibleOf(served: Served): Readonly<Record<string, string>> {
  const workers = childrenOf(served.pid);
  const places = (what: string, pids: readonly number[], of: (pid: number) => string) =>
    Object.fromEntries(pids.map((pid) => [`${what} of ${pid}`, of(pid)]));
  return {
    log: served.output,
    replies: served.replies.join('\n'),
    ...places('arguments', [served.pid, ...workers], commandLineOf),
    // The environment of the server itself is where operators put them.
    ...places('environment', workers, environmentOf),
    ...Object.fromEntries(filesIn(served.dataDir).map((file) => [file, readFileSync(file, 'latin1')])),
  };
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
