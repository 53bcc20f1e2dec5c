/** What a worker actor says of its jobs: to the router what becomes of each, to its queue which are free, or come back. */
import type { Failure } from '../failures.ts';
import type { ActorRef } from './actor.ts';
import type { Directory, Key } from './directory.ts';
import type { Job, JobReport } from './job.ts';
import type { PoolQueueMessage } from './pool-queue.ts';
import type { WorkerMessage } from './worker-roster.ts';

export interface WorkerMailOptions {
  readonly queueKey: Key<PoolQueueMessage>;
  readonly directory: Directory;
  readonly report: (report: JobReport) => void;
  /** Why jobs are turned away when there is no queue to give them back to. */
  readonly unavailable: () => Failure;
}

export class WorkerMail {
  readonly #options: WorkerMailOptions;
  readonly #self: ActorRef<WorkerMessage>;

  constructor(options: WorkerMailOptions, self: ActorRef<WorkerMessage>) {
    this.#options = options;
    this.#self = self;
  }

  report(report: JobReport): void {
    this.#options.report(report);
  }

  /** A job that did not run has ended. */
  fail({ queryId }: Job, failure: Failure): void {
    this.report({ type: 'ended', queryId, end: { ok: false, failure, runMs: 0, killed: false } });
  }

  /** It takes queries; these are with it. */
  ready(jobs: readonly Job[]): void {
    this.#tellQueue({ type: 'worker-ready', ref: this.#self, jobs });
  }

  ending(): void {
    this.#tellQueue({ type: 'worker-ending', ref: this.#self });
  }

  recycleWanted(): void {
    this.#tellQueue({ type: 'recycle-wanted', ref: this.#self });
  }

  free({ queryId }: Job): void {
    this.#tellQueue({ type: 'freed', ref: this.#self, queryId });
  }

  sendAhead(useful: boolean): void {
    this.#tellQueue({ type: 'send-ahead', ref: this.#self, useful });
  }

  givenBack(): void {
    this.#tellQueue({ type: 'given-back', ref: this.#self });
  }

  /** Jobs that have not begun go to the head of the queue; where there is none they are turned away. */
  handBack(jobs: readonly Job[], type: 'requeue' | 'worker-died'): void {
    const queue = this.#options.directory.whereis(this.#options.queueKey);
    const accepted = queue?.tell({ type, ref: this.#self, jobs }) === 'accepted';
    for (const job of jobs) {
      if (!accepted) {
        this.fail(job, this.#options.unavailable());
        continue;
      }
      job.sink.reset();
      job.holder = queue;
      this.report({ type: 'requeued', queryId: job.queryId });
    }
  }

  #tellQueue(message: PoolQueueMessage): void {
    this.#options.directory.whereis(this.#options.queueKey)?.tell(message);
  }
}
