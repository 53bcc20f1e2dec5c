/**
 * Pools: how many workers, what each may use, and how its supervisor treats their deaths.
 * Durations are milliseconds and sizes bytes once parsed.
 */
import { z } from 'zod';
import { decimal, integer, LABEL, named, oneOf, section } from './fields.ts';
import { duration, size } from './units.ts';

/** Erlang/OTP supervisor behaviour, with a backoff of our own. */
const restart = section({
  strategy: oneOf(['one_for_one', 'one_for_all', 'rest_for_one']).default('one_for_one'),
  type: oneOf(['permanent', 'transient', 'temporary']).default('permanent'),
  /** Restarts within `period` that are one too few to give up. */
  intensity: integer(0).default(5),
  /** Milliseconds. */
  period: duration().prefault('10s'),
  backoff: section({
    /** Milliseconds. */
    initial: duration({ min: 0 }).prefault('100ms'),
    /** Milliseconds; `initial` is never above it. */
    max: duration({ min: 0 }).prefault('30s'),
    /** Each delay is this many times the one before; 1 or more. */
    factor: decimal(1).default(2),
    /** Share of a delay that is left to chance, 0 to 1. */
    jitter: decimal(0, 1).default(0.2),
    /** Milliseconds of life after which the next delay is `initial` again. */
    reset_after: duration({ min: 0 }).prefault('60s'),
  }),
  /** Milliseconds a worker has to end by itself, or one of OTP's two words. */
  shutdown: z
    .union([z.literal('brutal-kill'), z.literal('infinity'), duration({ min: 0 })], {
      error: 'expected a duration such as "5s", or brutal-kill, or infinity',
    })
    .prefault('5s'),
});

const pool = section({
  /** Workers that take queries. */
  size: integer(1).default(2),
  /** Workers more, warm and idle, that take over after a crash. Default 1; 0 for the pool `exports`. */
  reserve: integer(0).optional(),
  /** Queries sent ahead to a busy worker. */
  dispatch_window: integer(0).default(3),
  /** DuckDB threads of one worker. */
  threads: integer(1).default(2),
  /** Bytes: DuckDB's own limit, never above `memory_hard_limit`. */
  memory_limit: size().prefault('1GB'),
  /** Bytes: of the whole process, data segment and resident set. */
  memory_hard_limit: size().prefault('2GB'),
  /** Bytes of spill a worker may write. */
  temp_limit: size().prefault('4GB'),
  /** Scheduling niceness of a worker; never better than the API's own. */
  nice: integer(0, 19).default(5),
  /** Milliseconds a query may run. */
  timeout: duration().prefault('60s'),
  /** Milliseconds from interrupt() to SIGKILL. */
  cancel_grace: duration({ min: 0 }).prefault('500ms'),
  /** Milliseconds from the start of a worker's process to its first sign of readiness. */
  start_timeout: duration().prefault('30s'),
  /** Milliseconds: a worker that says nothing for `timeout` is unresponsive. */
  heartbeat: section({
    interval: duration().prefault('1s'),
    timeout: duration().prefault('10s'),
  }),
  /** `max` queries wait, for `timeout` milliseconds each. */
  queue: section({
    max: integer(0).default(100),
    timeout: duration().prefault('30s'),
  }),
  /** Instances that a worker keeps with database servers attached, for whoever had them attached: at most `max`, each for so long. */
  attached: section({
    max: integer(0, 16).default(2),
    /** Milliseconds. */
    idle_timeout: duration().prefault('60s'),
  }),
  /** A worker is replaced after so many queries or milliseconds. */
  recycle: section({
    max_queries: integer(1).default(10_000),
    max_age: duration().prefault('6h'),
  }),
  restart,
});

/** Export jobs have no client waiting in front of them: their pool keeps no reserve unless it is told to. */
const RESERVE_BY_POOL: Readonly<Record<string, number>> = { exports: 0 };
const RESERVE = 1;

/** What a pool is that nothing is said of. */
export const DEFAULT_POOL: z.output<typeof pool> = pool.parse({});

/** Pools by name; one `interactive` pool when none is configured. */
export const poolsSchema = named(pool, LABEL).transform((pools) => {
  const given = Object.keys(pools).length > 0 ? pools : { interactive: pool.parse({}) };
  const complete: Record<string, PoolConfig> = Object.create(null);
  for (const [name, config] of Object.entries(given)) {
    complete[name] = { ...config, reserve: config.reserve ?? RESERVE_BY_POOL[name] ?? RESERVE };
  }
  return complete;
});

/** Durations in milliseconds, sizes in bytes. */
export type PoolConfig = z.output<typeof pool> & { reserve: number };
export type RestartConfig = PoolConfig['restart'];
export type BackoffConfig = RestartConfig['backoff'];
