/**
 * How much of the server each principal may ask for (`limits` of the configuration), beside what its queries may cost in crashes
 * (../crashes/crash-budget.ts).
 *
 * | limit          | past it                                                               |
 * | -------------- | --------------------------------------------------------------------- |
 * | `concurrent`   | its queries wait, while others' begin                                 |
 * | `queued`       | `QUOTA_EXCEEDED`                                                      |
 * | `per_minute`   | `QUOTA_EXCEEDED`, with the time after which there is room             |
 * | `result_bytes` | the same; a result that has begun is sent to its end, and counts then: a stream that was cut, as far as it came |
 *
 * Pure: `now` is passed in, on the clock of the actors.
 */
import { type LimitConfig, limitOf } from '../config/limits.ts';
import { Failure } from '../failures.ts';
import type { PrincipalIdentity } from '../principal.ts';
import { UsageWindow } from './usage-window.ts';

const MINUTE_MS = 60_000;

type Limits = Readonly<Record<string, LimitConfig>>;

interface Usage {
  readonly submissions: UsageWindow;
  results: { readonly windowMs: number; readonly window: UsageWindow } | undefined;
}

export class Quotas {
  readonly #limits: () => Limits;
  /** By the principal's name. There are as many as the configuration names. */
  readonly #usage = new Map<string, Usage>();

  /** `limits` is asked at each use, so that they may change. */
  constructor(limits: () => Limits) {
    this.#limits = limits;
  }

  /** Counts a submission, unless the principal has to wait: then says so. */
  submit(principal: PrincipalIdentity, now: number): Failure | undefined {
    const perMinute = limitOf(this.#limits(), principal, 'per_minute');
    const resultBytes = limitOf(this.#limits(), principal, 'result_bytes');
    if (perMinute === undefined && resultBytes === undefined) return undefined;
    const { submissions, results } = this.#usageOf(principal);
    const rateWaitMs = perMinute === undefined ? 0 : submissions.waitFor(perMinute, now);
    if (rateWaitMs > 0) {
      const detail = `${principal.name} has sent ${perMinute} queries within a minute, as many as it may.`;
      return exceeded('per_minute', perMinute as number, detail, rateWaitMs);
    }
    const bytesWaitMs =
      resultBytes === undefined || results === undefined ? 0 : results.window.waitFor(resultBytes.bytes, now);
    if (bytesWaitMs > 0) {
      const { bytes, window } = resultBytes as NonNullable<LimitConfig['result_bytes']>;
      const detail = `${principal.name} was sent ${bytes} bytes of results within ${window} ms, as much as it may be.`;
      return exceeded('result_bytes', bytes, detail, bytesWaitMs);
    }
    if (perMinute !== undefined) submissions.add(1, now);
    return undefined;
  }

  /** A query has ended, well or not, and so many bytes of its result have gone to the client. */
  delivered(principal: PrincipalIdentity, bytes: number, now: number): void {
    const limit = limitOf(this.#limits(), principal, 'result_bytes');
    if (limit === undefined || bytes === 0) return;
    const usage = this.#usageOf(principal);
    // Another length is another window: what was used within the old one is not known slice by slice.
    if (usage.results?.windowMs !== limit.window) {
      usage.results = { windowMs: limit.window, window: new UsageWindow(limit.window) };
    }
    usage.results.window.add(bytes, now);
  }

  /** Whether one more may begin beside `running` of its queries. */
  mayBegin(principal: PrincipalIdentity, running: () => number): boolean {
    const concurrent = limitOf(this.#limits(), principal, 'concurrent');
    return concurrent === undefined || running() < concurrent;
  }

  /** Why one that has come to wait is not to, now that `waiting` of its queries do, itself among them. */
  overcrowded(principal: PrincipalIdentity, waiting: number): Failure | undefined {
    const queued = limitOf(this.#limits(), principal, 'queued');
    if (queued === undefined || waiting <= queued) return undefined;
    return exceeded('queued', queued, `${queued} queries of ${principal.name} wait, as many as may.`, 1_000);
  }

  #usageOf({ name }: PrincipalIdentity): Usage {
    let usage = this.#usage.get(name);
    if (usage === undefined) {
      usage = { submissions: new UsageWindow(MINUTE_MS), results: undefined };
      this.#usage.set(name, usage);
    }
    return usage;
  }
}

function exceeded(what: string, limit: number, detail: string, waitMs: number): Failure {
  return new Failure('QUOTA_EXCEEDED', detail, {
    retryAfter: Math.ceil(waitMs / 1_000),
    members: { quota: what, limit },
  });
}
