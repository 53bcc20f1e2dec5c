/**
 * Instances that have sources attached, kept for the next statement of whoever had them attached.
 *
 * ```
 *           take                  a read, to its end
 *   free ----------> in use ---------------------------> free
 *     |                 |
 *     |                 +-- anything else ----------------> closed
 *     +-- idle for too long, room is needed,
 *         or the same sources with other credentials -----> closed
 * ```
 *
 * One is never given to another principal, nor for other sources, nor for the same ones with other credentials. With it go the
 * connections that it has to database servers.
 */
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Attachment } from '../protocol.ts';
import { close, type OpenInstance } from './open-instance.ts';

/** What an instance was opened for. */
export interface Purpose {
  readonly owner: string;
  readonly attachments: readonly Attachment[];
  /** Whether its lock leaves the pipe open. */
  readonly copies: boolean;
}

export interface AttachedInstance {
  readonly purpose: Purpose;
  readonly open: OpenInstance;
  /** Its connection, where nothing but reads ran on that, to their end. */
  readonly connection: DuckDBConnection | undefined;
}

interface Free {
  readonly kept: AttachedInstance;
  readonly timer: NodeJS.Timeout;
}

export interface AttachedInstancesOptions {
  /** How many are kept while they are free. */
  readonly max: number;
  /** Milliseconds for which one is kept. */
  readonly idleMs: number;
}

/** Kinds whose attachments see what changes in their source, once they have forgotten what they had read of it. */
const KEPT_KINDS: ReadonlySet<Attachment['kind']> = new Set(['postgres', 'mysql', 'sqlite']);

export class AttachedInstances {
  readonly #options: AttachedInstancesOptions;
  /** The one that was used last at the end. */
  #free: Free[] = [];

  constructor(options: AttachedInstancesOptions) {
    this.#options = options;
  }

  /** Whether an instance with these may be kept at all. */
  keeps(attachments: readonly Attachment[]): boolean {
    return this.#options.max > 0 && attachments.every(({ kind }) => KEPT_KINDS.has(kind));
  }

  take(purpose: Purpose): AttachedInstance | undefined {
    const found = this.#free.find(({ kept }) => isSame(kept.purpose, purpose));
    if (found !== undefined) this.#remove(found);
    // Those with credentials that are no more are nobody's any more.
    for (const free of this.#free) if (isOutdated(free.kept.purpose, purpose)) this.#close(free);
    return found?.kept;
  }

  keep(kept: AttachedInstance): void {
    const free: Free = { kept, timer: setTimeout(() => this.#close(free), this.#options.idleMs) };
    this.#free.push(free);
    const [oldest] = this.#free;
    if (this.#free.length > this.#options.max && oldest !== undefined) this.#close(oldest);
  }

  #remove(free: Free): void {
    clearTimeout(free.timer);
    this.#free = this.#free.filter((other) => other !== free);
  }

  #close(free: Free): void {
    this.#remove(free);
    free.kept.connection?.closeSync();
    close(free.kept.open);
  }
}

function isSame(one: Purpose, other: Purpose): boolean {
  return (
    one.owner === other.owner &&
    one.copies === other.copies &&
    JSON.stringify(one.attachments) === JSON.stringify(other.attachments)
  );
}

/** Of the same principal and for the same sources, which were configured otherwise then. */
function isOutdated(one: Purpose, other: Purpose): boolean {
  const aliases = ({ owner, attachments }: Purpose) =>
    JSON.stringify([owner, ...attachments.map(({ alias }) => alias)]);
  return aliases(one) === aliases(other) && configured(one) !== configured(other);
}

/** Whether a statement may write to a source is said of the statement. */
function configured({ attachments }: Purpose): string {
  return JSON.stringify(attachments.map((source) => ({ ...source, readOnly: true })));
}
