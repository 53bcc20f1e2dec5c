/** What a client asks of a session, against what it may ask. Pure. */
import type { PoolConfig } from '../config/pools.ts';
import type { Config } from '../config/schema.ts';
import { invalidRequest } from '../http/invalid-request.ts';
import type { SessionPatch, SessionRequest } from '../http/services.ts';
import { type Principal, requireSource } from '../principal.ts';
import { DEFAULT_THREADS, sessionSettings } from './session-settings.ts';

/** What its slot is made with. */
export function settingsFor(
  asked: Partial<Pick<SessionRequest, 'memoryLimit' | 'diskLimit' | 'threads'>>,
  { sessions }: Pick<Config, 'sessions'>,
): PoolConfig {
  return sessionSettings({
    memoryLimit: asked.memoryLimit ?? sessions.memory_limit,
    diskLimit: asked.diskLimit ?? sessions.disk_limit,
    threads: asked.threads ?? DEFAULT_THREADS,
  });
}

/** Each alias once. Throws `INVALID_REQUEST` for one that is not there, `FORBIDDEN` for one that is not the principal's. */
export function checkedSources(
  aliases: readonly string[],
  principal: Principal,
  { sources }: Pick<Config, 'sources'>,
): readonly string[] {
  for (const [index, alias] of aliases.entries()) {
    requireSource(principal, alias);
    if (!Object.hasOwn(sources, alias))
      throw invalid(`sources[${index}]`, `there is no source ${JSON.stringify(alias)}`);
  }
  return [...new Set(aliases)];
}

/** A client may ask for less than what is configured, and for no more. */
export function checkLimits(
  asked: SessionPatch & Partial<SessionRequest>,
  { sessions }: Pick<Config, 'sessions'>,
): void {
  const limits = [
    ['ttl_ms', asked.ttlMs, sessions.ttl],
    ['idle_timeout_ms', asked.idleTimeoutMs, sessions.idle_timeout],
    ['memory_limit', asked.memoryLimit, sessions.memory_limit],
    ['disk_limit', asked.diskLimit, sessions.disk_limit],
  ] as const;
  for (const [path, wanted, most] of limits)
    if (wanted !== undefined && wanted > most) throw invalid(path, `expected ${most} at most`);
}

function invalid(path: string, message: string) {
  return invalidRequest([{ path, message }]);
}
