/** A query on its way through a pool: what its queue and its worker need of it, and what they report to the router. */
import type { Failure } from '../failures.ts';
import type { Principal } from '../principal.ts';
import type { Run } from '../workers/protocol.ts';
import type { ActorRef } from './actor.ts';
import type { QueryProgress } from './query.ts';

/** Where a query's result bytes go, past all mailboxes. */
export interface ResultSink {
  /** Bytes have reached the client: no other attempt can take the place of this one. */
  readonly committed: boolean;
  /** Bytes of the result that have been handed to the client's connection, before any compression. */
  readonly delivered: number;
  /** Where there is no room for more: resolves when there is, and never rejects. */
  write(bytes: Uint8Array): Promise<void> | undefined;
  /** The attempt that wrote so far is void. */
  reset(): void;
  /** The query is being stopped: what comes of the attempt from now on is thrown away, and nobody waits for room. */
  discard(): void;
}

/** A queue or a worker: whoever has a job can be told to stop it. */
export type JobHolder = ActorRef<{ readonly type: 'cancel'; readonly queryId: string }>;

/** Whose query it is and what it says: what a death of its worker is laid to. */
export interface JobOrigin {
  readonly principal: Pick<Principal, 'name' | 'role'>;
  /** As {@link sourceNames} has them. */
  readonly sources: readonly string[];
}

export interface Job {
  readonly queryId: string;
  readonly origin: JobOrigin;
  /** Rises in the order of admission: a job that comes back to the queue takes its old place. */
  readonly ticket: number;
  readonly statement: Omit<Run, 'type' | 'seq'>;
  /** Milliseconds it may run, and of these, what earlier attempts have used. */
  readonly timeoutMs: number;
  ranMs: number;
  /** Which one this is, from 1. */
  attempt: number;
  /** Milliseconds it may wait, and when that is over on the actor system's clock. */
  readonly queueTimeoutMs: number;
  queueDeadline: number;
  readonly sink: ResultSink;
  /** Somebody is to hear that it waits; of any other one a report of that is work for nothing. */
  readonly tellsThatItWaits: boolean;
  /** Who cancelled it, as soon as somebody has: whoever holds the job next ends it. */
  cancelledBy: string | undefined;
  /**
   * Who has it. Whoever passes it on says so here at the moment the next one's mailbox takes it, so that a job in the mailbox
   * of an actor that ends is nobody's but that actor's, and can be found (query-router.ts).
   */
  holder: JobHolder | undefined;
}

/** How a job ended. */
export type JobEnd =
  | {
      readonly ok: true;
      readonly rows: number;
      readonly truncated: boolean;
      readonly bytes: number;
      readonly runMs: number;
      readonly peakMemoryBytes: number;
    }
  | {
      readonly ok: false;
      readonly failure: Failure;
      readonly runMs: number;
      /** Only SIGKILL could stop it. */
      readonly killed: boolean;
      /** Its worker died by itself, or its source has other credentials by now; and nothing has been written: it may be tried once more. */
      readonly mayRetry?: boolean;
    };

/** What a pool tells the router of a job. */
export type JobReport =
  | { readonly type: 'dispatched'; readonly queryId: string; readonly worker: string }
  | { readonly type: 'running'; readonly queryId: string; readonly worker: string }
  | { readonly type: 'streaming'; readonly queryId: string }
  | { readonly type: 'progress'; readonly queryId: string; readonly progress: QueryProgress }
  /** It is in the queue, and no worker is free. Of those that are to tell so. */
  | { readonly type: 'waiting'; readonly queryId: string }
  /** It is back in the queue, as if it had never left. */
  | { readonly type: 'requeued'; readonly queryId: string }
  | { readonly type: 'ended'; readonly queryId: string; readonly end: JobEnd };
