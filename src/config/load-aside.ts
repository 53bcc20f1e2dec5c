/**
 * Loads a configuration in a thread of its own, while the server serves: with ten thousand sources it is seconds of work, and
 * with a file system that hangs it has no end.
 */
import { createRequire } from 'node:module';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { fromClonable } from './clonable.ts';
import type { LoadedConfig } from './load.ts';
import type { ThreadOptions, ThreadReply } from './load-thread.ts';
import type { Config } from './schema.ts';

/** The thread's program as it is built. */
const THREAD = createRequire(import.meta.url).resolve('#load-thread');

/** As `loadConfig`. Rejects where the thread dies of it, as of a heap that is full. */
export async function loadConfigAside(options: ThreadOptions): Promise<LoadedConfig> {
  const reply = await new Promise<ThreadReply>((resolve, reject) => {
    const thread = new Worker(THREAD, { workerData: options });
    // The end of the server does not wait for it.
    thread.unref();
    thread.once('message', resolve);
    thread.once('error', reject);
    thread.once('exit', (code) => reject(new Error(`loading ended with ${code} and no configuration`)));
  });
  if (!reply.ok) return reply;
  // What there is to do here is done in pieces, with the requests that have come meanwhile between them.
  await setImmediate();
  const config = fromClonable(reply.config) as Config;
  await setImmediate();
  return { ...reply, config };
}
