/** How many sessions there is room for: by number, and by what all workers may take of memory together. Pure. */
import type { PoolConfig } from '../config/pools.ts';
import type { Config } from '../config/schema.ts';
import { formatSize } from '../config/units.ts';
import { Failure } from '../failures.ts';
import { settingsFor } from './session-request.ts';
import { hardLimits } from './session-settings.ts';

export type AdmissionConfig = Pick<Config, 'pools' | 'sessions' | 'budget'>;

/** Bytes that are left of the budget beside all pools and these sessions; below 0 where they pass it. */
export function bytesLeft({ pools, budget }: AdmissionConfig, sessions: readonly PoolConfig[]): number {
  return budget.memory - hardLimits([...Object.values(pools), ...sessions]);
}

/** How many sessions that ask for nothing else have room beside the pools, and what each may take, in bytes. */
export function roomBesidePools(config: AdmissionConfig): { readonly count: number; readonly each: number } {
  const each = hardLimits([settingsFor({}, config)]);
  return { count: Math.max(0, Math.floor(bytesLeft(config, []) / each)), each };
}

/** Why there is no room for another session beside those that are open; undefined where there is. */
export function refusalOf(
  config: AdmissionConfig,
  open: readonly PoolConfig[],
  wanted: PoolConfig,
): Failure | undefined {
  const { sessions, pools, budget } = config;
  if (open.length >= sessions.max) {
    const most = `There are ${open.length} sessions, as many as there may be (sessions.max).`;
    return overloaded(`${most} End one, or try again later.`, { limit: sessions.max, used: open.length });
  }
  const left = bytesLeft(config, open);
  const needed = hardLimits([wanted]);
  if (needed <= left) return undefined;
  const sum = `A session with memory_limit ${formatSize(wanted.memory_limit)} may take ${formatSize(needed)} with everything around it. ${formatSize(Math.max(0, left))} are left of budget.memory, ${formatSize(budget.memory)}: the pools may take ${formatSize(hardLimits(Object.values(pools)))}, and the ${open.length} open sessions ${formatSize(hardLimits(open))}.`;
  return overloaded(
    `${sum} End a session, ask for a lower memory_limit, or have an operator raise budget.memory or lower the pools' memory_hard_limit.`,
    { limit: budget.memory, used: budget.memory - left },
  );
}

function overloaded(detail: string, members: Readonly<Record<string, unknown>>): Failure {
  return new Failure('OVERLOADED', detail, { retryAfter: 5, members });
}
