/**
 * Sources whose server keeps silent, so that the queries that name one do not take a worker each to find that out. A circuit
 * breaker (Nygard, "Release It!") for each source:
 *
 * ```
 *             a query waited in vain              its time is over: the next query tries
 *   closed ---------------------------> open ------------------------------------------> trying
 *     ^                                  ^                                                 |
 *     |                                  +------ in vain again, for twice as long ---------+
 *     +------------------------------------------ the source answered ---------------------+
 * ```
 *
 * Only silence opens it: what fails at once holds nobody up. The clock is an argument.
 */
import { Failure } from '../failures.ts';
import { isInlineName } from './source-names.ts';

/** Milliseconds. */
const FIRST_MS = 1_000;
const MOST_MS = 30_000;

/** What the end of a query says of its sources. */
export type SourceVerdict =
  /** It ran to an end of its own: all of them answered. */
  | { readonly answered: true }
  /** It waited for this one in vain. */
  | { readonly answered: false; readonly source: string }
  /** Nothing can be told from it. */
  | undefined;

interface Circuit {
  /** What it was when that was found out; another one is not judged by it. */
  readonly configured: unknown;
  openUntil: number;
  forMs: number;
  /** The query that tries. */
  trial: string | undefined;
}

export interface SourceCircuitsOptions {
  readonly now: () => number;
  /** A source as it is configured now, to be compared by identity. */
  readonly configured: (alias: string) => unknown;
  readonly onSilent?: (alias: string, retryAfterMs: number) => void;
  readonly onAnswer?: (alias: string) => void;
}

export class SourceCircuits {
  readonly #options: SourceCircuitsOptions;
  readonly #circuits = new Map<string, Circuit>();

  constructor(options: SourceCircuitsOptions) {
    this.#options = options;
  }

  /** Why a query of these sources is not to be sent to a worker; undefined where it may be. */
  refusal(queryId: string, aliases: readonly string[]): Failure | undefined {
    for (const alias of aliases) {
      const circuit = this.#circuitOf(alias);
      if (circuit === undefined) continue;
      const left = circuit.openUntil - this.#options.now();
      if (left > 0 || (circuit.trial ?? queryId) !== queryId) return silent(alias, Math.max(left, FIRST_MS));
    }
    return undefined;
  }

  /** As {@link refusal}, for a query that begins now where it may: it is the one that tries. */
  begin(queryId: string, aliases: readonly string[]): Failure | undefined {
    const refusal = this.refusal(queryId, aliases);
    if (refusal !== undefined) return refusal;
    for (const alias of aliases) {
      const circuit = this.#circuitOf(alias);
      if (circuit !== undefined) circuit.trial = queryId;
    }
    return undefined;
  }

  /** A query has ended; one that never began tells nothing. */
  ended(queryId: string, aliases: readonly string[], verdict: SourceVerdict): void {
    for (const alias of aliases) {
      const circuit = this.#circuitOf(alias);
      const tried = circuit?.trial === queryId;
      if (circuit !== undefined && tried) circuit.trial = undefined;
      if (verdict?.answered === true) this.#close(alias);
      else if (verdict?.source === alias && (circuit === undefined || tried)) this.#open(alias, circuit);
    }
  }

  #open(alias: string, before: Circuit | undefined): void {
    const { now, configured, onSilent } = this.#options;
    const forMs = before === undefined ? FIRST_MS : Math.min(2 * before.forMs, MOST_MS);
    const circuit = { configured: configured(alias), openUntil: now() + forMs, forMs, trial: undefined };
    this.#circuits.set(alias, circuit);
    onSilent?.(alias, forMs);
  }

  #close(alias: string): void {
    if (this.#circuits.delete(alias)) this.#options.onAnswer?.(alias);
  }

  #circuitOf(alias: string): Circuit | undefined {
    const circuit = this.#circuits.get(alias);
    if (circuit === undefined || circuit.configured === this.#options.configured(alias)) return circuit;
    this.#circuits.delete(alias);
    return undefined;
  }
}

function silent(alias: string, leftMs: number): Failure {
  const detail = `${alias}: its server did not answer lately, and is not asked again before ${Math.ceil(leftMs)} ms have passed.`;
  return new Failure('SOURCE_UNAVAILABLE', detail, {
    retryAfter: leftMs / 1_000,
    members: { source: alias, reason: 'no_answer' },
  });
}

/**
 * What is told of its sources, which are called so, by a query that ran: with a result (undefined), or with a failure. Which one kept
 * silent is found out from the words of client libraries, and these are partly those of a server that the request brought along: what
 * waited for one is never laid to a configured source.
 */
export function verdictOf(failure: Failure | undefined, names: readonly string[]): SourceVerdict {
  switch (failure?.code) {
    case undefined:
    case 'RESULT_TOO_LARGE':
      return { answered: true };
    case 'SOURCE_UNAVAILABLE':
      return failure?.members.reason === 'no_answer' && !names.some(isInlineName)
        ? { answered: false, source: String(failure.members.source) }
        : undefined;
    default:
      return undefined;
  }
}
