/** A client of the load: sends what it is given, does what belongs to it, and holds what comes back to the contract. */
import type { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Server } from '../client.ts';
import { checkProblem, checkReply, type HttpReply, parsed } from './contract.ts';
import { type Exchanged, type ExchangeRequest, exchange } from './exchange.ts';
import type { Load } from './load.ts';
import { countIn, type Tally } from './tally.ts';

export interface LoadClientOptions {
  readonly server: Server;
  readonly agent: Agent;
  readonly tally: Tally;
}

/** Beyond the time that a query may run and wait: for a kill, for a retry's new worker, for a busy machine. */
const GRACE_MS = 30_000;
/** Who is told to come later does not come at once. */
const PAUSE_MS = 50;

/** Resolves with what became of it: `succeeded`, a code, `hung up`, or what was wrong. Never rejects. */
export async function runLoad(load: Load, options: LoadClientOptions): Promise<string> {
  const { request, expected } = load;
  const patienceMs = expected.timeoutMs + expected.queueTimeoutMs + GRACE_MS;
  const leaves = load.act?.what === 'hang-up';
  const replied = exchange(options.server, request, {
    patienceMs,
    // A connection that is closed in the middle is nobody else's.
    ...(leaves ? { leaveAfterMs: load.act.afterMs } : { agent: options.agent }),
  });
  const cancelled = load.act?.what === 'cancel' ? cancel(load, load.act.afterMs, options) : undefined;
  const [exchanged, cancelOutcome] = await Promise.all([replied, cancelled]);
  const outcome = judge(load, exchanged, options.tally);
  countIn(options.tally.outcomes, outcome);
  if (cancelled !== undefined) judgeCancel(load, outcome, cancelOutcome, options.tally);
  if (exchanged.kind === 'broken' || (exchanged.kind === 'reply' && exchanged.reply.status >= 429))
    await sleep(PAUSE_MS);
  return outcome;
}

function judge({ request, expected }: Load, exchanged: Exchanged, tally: Tally): string {
  switch (exchanged.kind) {
    case 'left':
      return 'hung up';
    case 'broken':
      tally.violation(`no whole reply: ${exchanged.why}`, request, '');
      return 'no reply';
    case 'hung':
      tally.violation(`no reply in ${Math.round(exchanged.ms)} ms`, request, '');
      return 'no reply';
    case 'reply': {
      const { outcome, wrong } = checkReply(exchanged.reply, expected);
      if (wrong.length > 0) tally.violation(wrong.join('; '), request, shown(exchanged.reply));
      if (outcome === 'succeeded' && wrong.length === 0) tally.recovery.succeeded(performance.now());
      return outcome;
    }
  }
}

/** The outcome that the DELETE was told; undefined where the server did not know the query. */
async function cancel(load: Load, afterMs: number, options: LoadClientOptions): Promise<string | undefined> {
  const { queryId, timeoutMs, queueTimeoutMs } = load.expected;
  await sleep(afterMs);
  const request: ExchangeRequest = { method: 'DELETE', path: `v1/queries/${queryId}` };
  const patienceMs = timeoutMs + queueTimeoutMs + GRACE_MS;
  const exchanged = await exchange(options.server, request, { patienceMs, agent: options.agent });
  if (exchanged.kind !== 'reply') {
    const why = exchanged.kind === 'broken' ? exchanged.why : 'it took too long';
    options.tally.violation(`no reply to a DELETE: ${why}`, request, '');
    return undefined;
  }
  const { reply } = exchanged;
  const document = parsed(reply.body) ?? {};
  const { outcome } = document;
  if (reply.status === 200 && OUTCOMES.has(outcome)) return outcome as string;
  // It had ended long ago, or has not even come.
  const wrong =
    reply.status === 404 && document.code === 'NOT_FOUND' ? checkProblem(reply, document) : ['unexpected'];
  if (wrong.length > 0) options.tally.violation(`a DELETE: ${wrong.join('; ')}`, request, shown(reply));
  return undefined;
}

const OUTCOMES: ReadonlySet<unknown> = new Set(['cancelled', 'killed', 'already_finished']);

/** Both were told the same. */
function judgeCancel(load: Load, outcome: string, cancelOutcome: string | undefined, tally: Tally): void {
  if (outcome === 'no reply') return;
  const wasCancelled = cancelOutcome === 'cancelled' || cancelOutcome === 'killed';
  if (wasCancelled === (outcome === 'QUERY_CANCELLED')) return;
  tally.violation(
    `the DELETE was told ${cancelOutcome ?? 'NOT_FOUND'}, and the query's client ${outcome}`,
    load.request,
    '',
  );
}

export function shown({ status, headers, body }: HttpReply): string {
  const retryAfter = headers['retry-after'] === undefined ? '' : `, Retry-After ${headers['retry-after']}`;
  return `${status} ${headers['content-type'] ?? 'no content type'}${retryAfter}: ${body}`;
}
