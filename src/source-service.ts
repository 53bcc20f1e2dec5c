/** The configured sources: which there are, and whether each can be reached. */
import { randomUUID } from 'node:crypto';
import type { QueryService } from './actors/query.ts';
import { type ReplacedCredentials, withCredentials } from './config/credentials.ts';
import type { LiveConfig } from './config/live-config.ts';
import { Failure } from './failures.ts';
import { invalidRequest } from './http/invalid-request.ts';
import type { SourceService } from './http/services.ts';
import { mayUseSource } from './principal.ts';
import type { Reloader } from './reload.ts';
import type { Events } from './telemetry/events.ts';

/** A server that answers at all does so well within this. */
const CHECK_TIMEOUT_MS = 15_000;

export interface SourceServiceOptions {
  readonly live: LiveConfig;
  readonly queries: QueryService;
  readonly replaced: ReplacedCredentials;
  readonly reloader: Pick<Reloader, 'change'>;
  readonly events: Events;
}

export function sourceService(options: SourceServiceOptions): SourceService {
  const { live, queries, replaced, reloader, events } = options;
  return {
    list: (principal) =>
      Object.entries(live.current.sources)
        .filter(([alias]) => mayUseSource(principal, alias))
        .map(([alias, { kind }]) => ({ alias, kind })),
    has: (alias) => Object.hasOwn(live.current.sources, alias),
    replaceCredentials: async (alias, credentials, principal) => {
      const version = await reloader.change((current) => {
        const before = Object.hasOwn(current.sources, alias) ? current.sources[alias] : undefined;
        if (before === undefined)
          throw new Failure('NOT_FOUND', `There is no source ${JSON.stringify(alias)}.`);
        const changed = withCredentials(before, credentials);
        if ('problems' in changed) throw invalidRequest(changed.problems);
        replaced.put(alias, before, changed.source);
        const sources = Object.assign(Object.create(null), current.sources, { [alias]: changed.source });
        return { ...current, sources };
      });
      events.emit('source.credentials', { source: alias, version, principal: principal.name });
      return { version };
    },
    check: async (alias, principal) => {
      const started = performance.now();
      // A worker attaches it as for any query: native code, and so whatever it dies of, stays there.
      await queries.run({
        queryId: `check-${randomUUID()}`,
        sql: 'SELECT 1',
        params: undefined,
        rowFormat: 'arrays',
        output: undefined,
        sources: [alias],
        attachAnew: true,
        pool: undefined,
        timeoutMs: CHECK_TIMEOUT_MS,
        queueTimeoutMs: CHECK_TIMEOUT_MS,
        rowLimit: undefined,
        byteLimit: undefined,
        memoryLimit: undefined,
        threads: undefined,
        readOnly: true,
        tags: {},
        principal,
      }).result;
      return { ok: true, ms: Math.round(performance.now() - started) };
    },
  };
}
