/** The extensions of a worker's sources: those that were there at its start, and those that its first source of a kind brings. */
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Attachment, Configure } from '../protocol.ts';
import { extensionsOf } from '../source-extensions.ts';
import type { Guard } from './guard.ts';
import { loadExtensions, type OpenInstance } from './open-instance.ts';
import { Refusal } from './refusal.ts';

export class Extensions {
  readonly #guard: Guard;
  /** Why extensions were not there at the start: they are not looked for again by this worker. */
  readonly #missing: ReadonlyMap<string, string>;
  readonly #threads: number;
  #configured: Configure['extensions'];

  /** `first` was opened with those that are configured. */
  constructor({ extensions, threads }: Configure, guard: Guard, first: OpenInstance) {
    this.#threads = threads;
    this.#guard = guard;
    this.#missing = first.missing;
    const names = extensions.names.filter((name) => !first.missing.has(name));
    this.#configured = { ...extensions, names };
  }

  /** What instances are opened with from now on. */
  get configured(): Configure['extensions'] {
    return this.#configured;
  }

  /**
   * Throws a {@link Refusal} where the source's extension is not there. One of a source that was configured after this worker had
   * started is loaded now.
   */
  async require(source: Attachment, open: OpenInstance, connection: DuckDBConnection): Promise<void> {
    for (const name of extensionsOf(source)) {
      requireExtension(source, name, open.missing);
      requireExtension(source, name, this.#missing);
      const { directory, names, onDemand = [] } = this.#configured;
      if (names.includes(name) || !onDemand.includes(name)) continue;
      const missing = await loadExtensions(open.instance, { directory, names: [name] }, this.#threads);
      requireExtension(source, name, missing);
      await this.#guard.learn(connection);
      this.#configured = { directory, names: [...names, name], onDemand };
    }
  }
}

function requireExtension(source: Attachment, name: string, missing: ReadonlyMap<string, string>): void {
  const why = missing.get(name);
  if (why === undefined) return;
  const detail = `${source.alias}: the DuckDB extension ${name} cannot be loaded (${why}). An operator installs it with \`duckcoop extensions install\` and starts the server anew.`;
  throw new Refusal('SOURCE_UNAVAILABLE', detail, { source: source.alias });
}
