import type { Clock } from '../actors/actor.ts';
import type { Child, Shutdown } from './child-spec.ts';
import type { ExitReason } from './exit-reason.ts';

/** What became of a child that its supervisor ended. */
export interface Ended {
  readonly reason: ExitReason;
  /** Force was used. */
  readonly killed: boolean;
}

/**
 * One life of one child, from its start to its exit, which comes once.
 *
 * The exit has one owner: whoever waits for it in {@link end}, else `onExit`.
 */
export class Incarnation {
  readonly number: number;
  readonly gone: Promise<ExitReason>;
  #child: Child | undefined;
  #exit: ExitReason | undefined;
  #awaited = false;
  #killed = false;
  readonly #resolveGone: (reason: ExitReason) => void;
  readonly #onExit: (reason: ExitReason) => void;

  constructor(number: number, onExit: (incarnation: Incarnation, reason: ExitReason) => void) {
    this.number = number;
    let resolveGone: (reason: ExitReason) => void = () => undefined;
    this.gone = new Promise((resolve) => {
      resolveGone = resolve;
    });
    this.#resolveGone = resolveGone;
    this.#onExit = (reason) => onExit(this, reason);
  }

  /** For the child to report its exit with. The first call counts. */
  readonly exited = (reason: ExitReason): void => {
    if (this.#exit !== undefined) return;
    this.#exit = reason;
    this.#resolveGone(reason);
    if (!this.#awaited) this.#onExit(reason);
  };

  get isAlive(): boolean {
    return this.#exit === undefined;
  }

  /** The child; throws before {@link started}. */
  get child(): Child {
    if (this.#child === undefined) throw new Error('the child has not started yet');
    return this.#child;
  }

  started(child: Child): void {
    this.#child = child;
  }

  /** Ends the child as its spec says (OTP, `shutdown` of a child spec) and resolves once it is gone. */
  async end(shutdown: Shutdown, clock: Clock): Promise<Ended> {
    this.#awaited = true;
    if (this.#exit !== undefined) return { reason: this.#exit, killed: false };
    let killed = shutdown === 'brutal-kill';
    if (!killed) this.child.stop();
    if (typeof shutdown === 'number') killed = !(await this.#goneWithin(shutdown, clock)) && this.isAlive;
    if (killed) this.#kill();
    return { reason: await this.gone, killed };
  }

  #kill(): void {
    if (this.#killed) return;
    this.child.kill();
    this.#killed = true;
  }

  /** The clock's own timer and not the supervisor actor's: it has to outlast that actor's end. */
  #goneWithin(ms: number, clock: Clock): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = clock.setTimer(ms, () => resolve(false));
      void this.gone.then(() => {
        cancel();
        resolve(true);
      });
    });
  }
}
