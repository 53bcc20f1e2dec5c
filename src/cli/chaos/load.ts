/** The load: requests, and what may become of each. Pure: randomness is an argument. */
import type { FailureCode } from '../../failures.ts';
import type { Fault } from '../../workers/protocol.ts';
import type { Expectation } from './contract.ts';
import { type Act, LOAD_KINDS, type LoadKind, statementOf } from './statements.ts';

export interface Load {
  readonly kind: LoadKind;
  readonly request: LoadRequest;
  readonly expected: Expectation;
  readonly act?: Act;
}

export interface LoadRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: Readonly<Record<string, unknown>>;
}

/** What of the server's configuration the load depends on. Times in milliseconds. */
export interface LoadSettings {
  /** Begins each `query_id`. */
  readonly run: string;
  readonly pool: string;
  readonly timeoutMs: number;
  readonly queueTimeoutMs: number;
  /** Bytes that one reply may have. */
  readonly maxResult: number;
  readonly maxRetries: number;
  /** Faults that there may be. */
  readonly faults: readonly Fault[];
}

/** Patience of a query that is not about time. */
const PATIENCE_MS = 20_000;

/** What becomes of any query where workers die and many want them. */
const ANY: readonly FailureCode[] = [
  'WORKER_CRASHED',
  'POOL_DOWN',
  'OVERLOADED',
  'SHUTTING_DOWN',
  'QUEUE_TIMEOUT',
  'QUERY_TIMEOUT',
  'QUERY_QUARANTINED',
  'CRASH_BUDGET_EXCEEDED',
];

export class LoadFactory {
  readonly #settings: LoadSettings;
  readonly #random: () => number;
  readonly #common: readonly FailureCode[];
  #made = 0;

  /** `random` gives numbers from 0 to below 1. */
  constructor(settings: LoadSettings, random: () => number) {
    this.#settings = settings;
    this.#random = random;
    this.#common = [
      ...ANY,
      ...(settings.faults.includes('oom') ? (['MEMORY_LIMIT'] as const) : []),
      ...(settings.faults.includes('disk-full') ? (['DISK_LIMIT'] as const) : []),
    ];
  }

  /** One of them by chance, as often as {@link LOAD_KINDS} says. */
  next(): Load {
    const kinds = Object.entries(LOAD_KINDS) as [LoadKind, number][];
    let left = this.#random() * kinds.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [kind, weight] of kinds) {
      left -= weight;
      if (left < 0) return this.make(kind);
    }
    return this.make('point');
  }

  /** With `sources`, which are attached, it may also fail for those. */
  make(kind: LoadKind, sources: readonly string[] = []): Load {
    this.#made += 1;
    const q = `q${this.#made}`;
    const queryId = `${this.#settings.run}-${this.#made}`;
    const {
      fields,
      result,
      codes = [],
      act,
    } = statementOf(kind, q, {
      maxResult: this.#settings.maxResult,
      random: this.#random,
    });
    const { pool, maxRetries } = this.#settings;
    const all = {
      query_id: queryId,
      pool,
      timeout_ms: PATIENCE_MS,
      queue_timeout_ms: PATIENCE_MS,
      ...(sources.length > 0 && { sources }),
      ...fields,
    };
    const isGet = kind === 'get';
    return {
      kind,
      request: {
        method: isGet ? 'GET' : 'POST',
        path: isGet ? `v1/query?${new URLSearchParams(stringValues(all))}` : 'v1/query',
        ...(!isGet && { body: all }),
      },
      expected: {
        queryId,
        pool,
        result,
        codes: new Set([
          ...this.#common,
          ...codes,
          ...(sources.length > 0 ? (['SOURCE_UNAVAILABLE'] as const) : []),
        ]),
        // What is asked for is never more than the pool allows.
        timeoutMs: Math.min(all.timeout_ms, this.#settings.timeoutMs),
        queueTimeoutMs: Math.min(all.queue_timeout_ms, this.#settings.queueTimeoutMs),
        maxAttempts: 1 + maxRetries,
      },
      ...(act !== undefined && { act }),
    };
  }
}

function stringValues(fields: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}
