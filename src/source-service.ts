/** The configured sources: which there are, and whether each can be reached. */
import { randomUUID } from 'node:crypto';
import type { QueryService } from './actors/query.ts';
import type { LiveConfig } from './config/live-config.ts';
import type { SourceService } from './http/services.ts';
import { mayUseSource } from './principal.ts';

/** A server that answers at all does so well within this. */
const CHECK_TIMEOUT_MS = 15_000;

export function sourceService(live: LiveConfig, queries: QueryService): SourceService {
  return {
    list: (principal) =>
      Object.entries(live.current.sources)
        .filter(([alias]) => mayUseSource(principal, alias))
        .map(([alias, { kind }]) => ({ alias, kind })),
    has: (alias) => Object.hasOwn(live.current.sources, alias),
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
