/**
 * Hot reload: the whole file is read and checked first; then its differences are put in force, or, where anything is wrong
 * with it, nothing is.
 *
 * Reloads take turns. What runs is not disturbed: a query keeps the settings it began with.
 */
import { setImmediate } from 'node:timers/promises';
import { type ConfigChange, configChanges, withoutRestartNeeded } from './config/changes.ts';
import type { LiveConfig } from './config/live-config.ts';
import type { LoadedConfig } from './config/load.ts';
import type { ConfigProblem } from './config/problems.ts';
import type { Config } from './config/schema.ts';
import { shuttingDown } from './failures.ts';
import type { Events } from './telemetry/events.ts';

export interface ReloadOptions {
  readonly live: LiveConfig;
  /** Reads and checks everything anew. */
  readonly load: () => Promise<LoadedConfig>;
  /** Puts a configuration in force that `live` has already; `before` is the one until now. */
  readonly apply: (before: Config) => Promise<void>;
  /** Whether the server is about to end: nothing is put in force any more. */
  readonly isStopping: () => boolean;
  readonly events: Events;
}

/** Who asked for it. */
export type ReloadTrigger = 'signal' | 'request' | 'watch';

export type ReloadOutcome =
  | {
      readonly ok: true;
      readonly version: number;
      readonly changes: readonly ConfigChange[];
      readonly warnings: readonly ConfigProblem[];
    }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

export interface ReloadStatus {
  readonly version: number;
  /** Milliseconds since the epoch. */
  readonly loadedAt: number;
  /** The last file that was refused, unless a good one came after it. */
  readonly refused: { readonly at: number; readonly problems: readonly ConfigProblem[] } | undefined;
}

export class Reloader {
  readonly #options: ReloadOptions;
  #loadedAt = Date.now();
  #refused: ReloadStatus['refused'];
  /** The one in force was put in force in part only: the next reload does it once more, whether or not the file has changed. */
  #isUnfinished = false;
  #working: Promise<unknown> = Promise.resolve();

  constructor(options: ReloadOptions) {
    this.#options = options;
  }

  get status(): ReloadStatus {
    return { version: this.#options.live.version, loadedAt: this.#loadedAt, refused: this.#refused };
  }

  reload(trigger: ReloadTrigger): Promise<ReloadOutcome> {
    const outcome = this.#working.then(() => this.#reload(trigger));
    this.#working = outcome.catch(() => undefined);
    return outcome;
  }

  /** Puts another configuration in force that is made of the one that is; takes its turn. Resolves with its version. */
  change(update: (current: Config) => Config): Promise<number> {
    const { live } = this.#options;
    const changed = this.#working.then(async () => {
      await this.#put(update(live.current));
      return live.version;
    });
    this.#working = changed.catch(() => undefined);
    return changed;
  }

  async #put(next: Config): Promise<void> {
    const { live, apply } = this.#options;
    const before = live.current;
    live.replace(next);
    this.#isUnfinished = true;
    await apply(before);
    this.#isUnfinished = false;
  }

  async #reload(trigger: ReloadTrigger): Promise<ReloadOutcome> {
    const { live, load, isStopping, events } = this.#options;
    const loaded = await load();
    if (!loaded.ok) {
      this.#refused = { at: Date.now(), problems: loaded.problems };
      events.emit('config.refused', { trigger, problems: loaded.problems });
      return { ok: false, problems: loaded.problems };
    }
    const before = live.current;
    const changes = configChanges(before, loaded.config);
    const isChanged = changes.some(({ effect }) => effect !== 'restart_needed');
    // A large configuration takes its time to compare, and to put in force: requests that have come are answered between.
    await setImmediate();
    if (isStopping()) throw shuttingDown();
    this.#refused = undefined;
    this.#loadedAt = Date.now();
    if (this.#isUnfinished || isChanged) await this.#put(withoutRestartNeeded(before, loaded.config));
    events.emit('config.reloaded', { trigger, version: live.version, changes });
    return { ok: true, version: live.version, changes, warnings: loaded.warnings };
  }
}
