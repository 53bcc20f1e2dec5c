/** The thread that {@link loadConfigAside} starts: loads one configuration, says what came of it, and ends. */
import { parentPort, workerData } from 'node:worker_threads';
import { type Clonable, toClonable } from './clonable.ts';
import { type LoadOptions, loadConfig } from './load.ts';
import type { ConfigProblem } from './problems.ts';

export type ThreadOptions = Pick<LoadOptions, 'file' | 'overrides'>;

export type ThreadReply =
  | { readonly ok: true; readonly config: Clonable; readonly warnings: readonly ConfigProblem[] }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

const loaded = loadConfig(workerData as ThreadOptions);
const reply: ThreadReply = loaded.ok
  ? { ok: true, config: toClonable(loaded.config), warnings: loaded.warnings }
  : loaded;
parentPort?.postMessage(reply);
