/** How much each principal may ask for. */
import { z } from 'zod';
import { ANONYMOUS, type PrincipalIdentity } from '../principal.ts';
import { integer, LABEL, named, section } from './fields.ts';
import { duration, size } from './units.ts';

/** What is not given is not limited. */
const limit = section({
  /** Queries running at a time in each pool; more of them wait. */
  concurrent: integer(1).optional(),
  /** Queries waiting at a time, in each pool. */
  queued: integer(0).optional(),
  /** Queries submitted in a minute. */
  per_minute: integer(1).optional(),
  /** Bytes of results within the window, in milliseconds. */
  result_bytes: z
    .preprocess((value) => value, section({ bytes: size(), window: duration().prefault('1h') }))
    .optional(),
  crash_budget: section({
    crashes: integer(1).default(5),
    /** Milliseconds. */
    window: duration().prefault('10m'),
  }).optional(),
});

/** By role or by principal; readers have limits when nothing is said at all. */
export const limitsSchema = named(limit, LABEL, {
  reader: { concurrent: 4, queued: 20, per_minute: 600, crash_budget: {} },
});

/** Durations in milliseconds. */
export type LimitConfig = z.output<typeof limit>;

/**
 * A limit of a principal: the one under its own name, or else its role's. Who is not authenticated is `anonymous` with an
 * operator's rights, and has the limits of that name alone.
 */
export function limitOf<Key extends keyof LimitConfig>(
  limits: Readonly<Record<string, LimitConfig>>,
  { name, role }: PrincipalIdentity,
  key: Key,
): LimitConfig[Key] | undefined {
  const own = limits[name]?.[key];
  return own !== undefined || name === ANONYMOUS.name ? own : limits[role]?.[key];
}
