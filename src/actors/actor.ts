/**
 * Actors: serial mailboxes with owners. The only importer of nact.
 *
 * An actor is a behaviour (a synchronous `receive`) behind a bounded mailbox, owned by a parent, and identified
 * by its path and its incarnation. nact gives the turn; this module gives what nact does not: a bounded mailbox
 * drained in batches, `ask` that fails the moment its target is gone, exits that are watched and awaited, and
 * references that never reach a later incarnation of the same path.
 *
 * ```
 *            init returns        a turn begins
 *  starting -------------> idle <-------------> handling
 *      |                     |   the turn ends      |
 *      | init throws         | stop                 | receive throws
 *      '---------------------+----------------------'
 *                            v    children are gone, `terminate` is done
 *                        stopping ---------------------------------------> stopped
 * ```
 * A stop that comes while `init` or `receive` runs waits until it has returned: no code of an actor ever runs
 * twice at once, `terminate` included.
 *
 * One policy for faults (OTP, "Links"): a behaviour that throws ends its actor; the parent hears of it through
 * `childExited`, and a parent that has no such handler fails too. nact itself is told one thing only: stop.
 */
import * as nact from 'nact';

/** Why an actor ended. `error` is the value it threw. */
export type ActorExit =
  | { readonly kind: 'normal' }
  | { readonly kind: 'shutdown' }
  | { readonly kind: 'crash'; readonly error: unknown };

/** What became of a message at the moment it was told. A refusal is also counted in {@link ActorStats}. */
export type Delivery = 'accepted' | 'full' | 'dead';

/** The address of one incarnation of an actor. It never reaches the actor that takes its path later. */
export interface ActorRef<in Message> {
  readonly path: string;
  readonly name: string;
  /** Unique among all actors of the system, rising in the order they were spawned. */
  readonly incarnation: number;
  /** Puts a message into the mailbox. Never throws and never blocks. */
  readonly tell: (message: Message) => Delivery;
}

/** Any actor, for those who only watch or stop it. */
export type AnyActorRef = ActorRef<never>;

export interface Behaviour<in Message> {
  /**
   * Handles one message. Synchronous: what takes time comes back as a message ({@link ActorContext.pipe}). To return
   * a promise is a crash, because the next message would overtake what is left of this one.
   */
  receive(message: Message): void;
  /** A child ended, for whatever reason. Without this handler a child's crash ends this actor too. */
  childExited?(child: AnyActorRef, exit: ActorExit): void;
  /**
   * Last words, after all children have stopped; awaited, so a promise that never settles keeps the actor, and all
   * above it, from ever being stopped. What it throws is reported as a fault and ends there.
   */
  terminate?(exit: ActorExit): void | Promise<void>;
}

export interface ActorOptions<Message> {
  readonly name: string;
  /**
   * Builds the behaviour, synchronously. If it throws, nothing was spawned and `spawn` throws {@link ActorStartError}.
   * The name is free again at once, or as soon as the children are gone that `init` had spawned before it threw.
   */
  readonly init: (context: ActorContext<Message>) => Behaviour<Message>;
  /** Messages the mailbox holds before it refuses, at least 1; exits, timers and piped results are never refused. */
  readonly mailbox?: number;
}

export interface ActorContext<in out Message> {
  readonly self: ActorRef<Message>;
  readonly system: ActorSystem;
  /** Spawns a child, which stops before this actor does. */
  spawn<Child>(options: ActorOptions<Child>): ActorRef<Child>;
  /** Ends this actor after the current message. If the behaviour then throws, the exit is a crash all the same. */
  stop(): void;
  /** Ends this actor after the current message, as if the behaviour had thrown `error`. */
  fail(error: unknown): void;
  /** A message to self after `ms`; gone with the actor. Returns its cancellation, which recalls nothing already sent. */
  after(ms: number, message: Message): () => void;
  /**
   * The outcome of a promise as a message to self; dropped, and counted, if the actor is gone by then. The functions
   * run between messages and only make one; what they throw is a crash.
   */
  pipe<Value>(
    promise: Promise<Value>,
    fulfilled: (value: Value) => Message,
    rejected: (error: unknown) => Message,
  ): void;
  /** The exit of another actor as a message to self, at once if it has stopped already. Returns its cancellation. */
  watch(target: AnyActorRef, message: (exit: ActorExit) => Message): () => void;
}

export interface Clock {
  /** Milliseconds that never run backwards; only differences mean anything. */
  now(): number;
  /** Calls back once, never before it has returned. Returns the cancellation. */
  setTimer(ms: number, callback: () => void): () => void;
}

/** What `setTimeout` can count to; it takes anything longer for 1 ms. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer(ms, callback) {
    let timer: NodeJS.Timeout;
    const arm = (left: number) => {
      const step = Math.min(left, LONGEST_TIMEOUT_MS);
      timer = setTimeout(() => (left > step ? arm(left - step) : callback()), step);
    };
    arm(ms);
    return () => clearTimeout(timer);
  },
};

export interface ActorStats {
  readonly live: number;
  /** Messages told to, or left in the mailbox of, an incarnation that is no more. */
  readonly deadLetters: number;
  /** Messages refused by a full mailbox. */
  readonly refused: number;
}

/** The behaviour's `init` threw: `cause` says what. */
export class ActorStartError extends Error {
  override readonly name = 'ActorStartError';
}

/** The target of an `ask` is stopping, stopped, or ended before it answered. */
export class ActorGoneError extends Error {
  override readonly name = 'ActorGoneError';
}

export class MailboxFullError extends Error {
  override readonly name = 'MailboxFullError';
}

export class AskTimeoutError extends Error {
  override readonly name = 'AskTimeoutError';
}

const DEFAULT_MAILBOX = 10_000;
/** Messages handled in one turn of the event loop before other actors, and I/O, get theirs. */
const BATCH = 128;

export interface ActorSystemOptions {
  readonly clock?: Clock;
  /**
   * Hears of faults that have no parent to go to: a root actor's crash, a crash whose parent was ending itself, a
   * `terminate` or a watcher that threw. What it throws is dropped: nobody is left to tell.
   */
  readonly onFault?: (path: string, error: unknown) => void;
}

/** The roots of all actors of one process, their registry and their counters. */
export class ActorSystem {
  readonly clock: Clock;
  readonly onFault: (path: string, error: unknown) => void;
  readonly #shared: Shared;
  #stopping = false;

  constructor(options: ActorSystemOptions = {}) {
    this.clock = options.clock ?? systemClock;
    this.onFault = (path, error) => {
      try {
        options.onFault?.(path, error);
      } catch {
        // An actor that is ending must end, even if its fault cannot be reported.
      }
    };
    this.#shared = {
      system: this,
      nact: nact.start(),
      roots: new Map(),
      cells: new WeakMap(),
      counters: { incarnations: 0, live: 0, deadLetters: 0, refused: 0 },
    };
  }

  get stats(): ActorStats {
    const { live, deadLetters, refused } = this.#shared.counters;
    return { live, deadLetters, refused };
  }

  /** Spawns a root actor. Throws {@link ActorStartError} if its `init` throws, `Error` if the name is taken. */
  spawn<Message>(options: ActorOptions<Message>): ActorRef<Message> {
    if (this.#stopping) throw new Error(`cannot spawn ${options.name}: the actor system is stopping`);
    return spawn(this.#shared, undefined, options);
  }

  /** True until the actor begins to stop. */
  isAlive(ref: AnyActorRef): boolean {
    return this.#cell(ref).alive;
  }

  /** Ends an actor and everything under it, from the leaves up. Resolves once it is stopped; safe to call again. */
  stop(ref: AnyActorRef): Promise<ActorExit> {
    return this.#cell(ref).stop({ kind: 'shutdown' });
  }

  /** Resolves with the exit of an actor, at once if it is stopped already. */
  exited(ref: AnyActorRef): Promise<ActorExit> {
    return this.#cell(ref).exited;
  }

  /** Calls back once with the exit of an actor; at once (synchronously) if it is stopped already. */
  watch(ref: AnyActorRef, callback: (exit: ActorExit) => void): () => void {
    return this.#cell(ref).watch(callback);
  }

  /**
   * Sends a request and waits for its answer.
   * Rejects with {@link ActorGoneError} as soon as the target stops, {@link MailboxFullError} when it refuses,
   * {@link AskTimeoutError} after `timeoutMs`. Later answers are ignored.
   */
  ask<Message, Reply>(
    ref: ActorRef<Message>,
    request: (reply: (value: Reply) => void) => Message,
    timeoutMs?: number,
  ): Promise<Reply> {
    return new Promise<Reply>((resolve, reject) => {
      const cell = this.#cell(ref);
      let settled = false;
      let cancelTimer: (() => void) | undefined;
      let unwatch: (() => void) | undefined;
      const settle = (how: () => void) => {
        if (settled) return;
        settled = true;
        cancelTimer?.();
        unwatch?.();
        how();
      };
      const delivery = ref.tell(request((value) => settle(() => resolve(value))));
      if (delivery === 'full')
        settle(() => reject(new MailboxFullError(`the mailbox of ${ref.path} is full`)));
      if (delivery === 'dead') settle(() => reject(new ActorGoneError(`${ref.path} is gone`)));
      if (settled) return;
      unwatch = cell.watchStopping(() =>
        settle(() => reject(new ActorGoneError(`${ref.path} ended before it answered`))),
      );
      if (timeoutMs !== undefined) {
        cancelTimer = this.clock.setTimer(timeoutMs, () =>
          settle(() => reject(new AskTimeoutError(`${ref.path} did not answer within ${timeoutMs} ms`))),
        );
      }
    });
  }

  /** Stops every root, the last one spawned first, each awaited. From the call on, the system spawns no more roots. */
  async stopAll(): Promise<void> {
    this.#stopping = true;
    for (const cell of [...this.#shared.roots.values()].reverse()) await cell.stop({ kind: 'shutdown' });
    nact.stop(this.#shared.nact);
  }

  #cell(ref: AnyActorRef): AnyCell {
    const cell = this.#shared.cells.get(ref);
    if (cell === undefined) throw new TypeError(`${ref.path} is no actor of this system`);
    return cell;
  }
}

/** What all actors of one system share. */
interface Shared {
  readonly system: ActorSystem;
  readonly nact: nact.ActorSystemRef;
  readonly roots: Map<string, AnyCell>;
  readonly cells: WeakMap<AnyActorRef, AnyCell>;
  readonly counters: { incarnations: number; live: number; deadLetters: number; refused: number };
}

function spawn<Message>(
  shared: Shared,
  parent: AnyCell | undefined,
  options: ActorOptions<Message>,
): ActorRef<Message> {
  const { name, init, mailbox = DEFAULT_MAILBOX } = options;
  const siblings = parent?.children ?? shared.roots;
  if (siblings.has(name)) throw new Error(`an actor named ${name} is running already`);
  if (!(mailbox >= 1)) throw new RangeError(`expected a mailbox of at least 1 message, got ${mailbox}`);
  const cell = new Cell<Message>(shared, parent, name, mailbox);
  siblings.set(name, cell);
  shared.cells.set(cell.ref, cell);
  shared.counters.live += 1;
  cell.start(init);
  return cell.ref;
}

type Phase = 'starting' | 'idle' | 'handling' | 'stopping' | 'stopped';

/** What a mailbox holds: a message, or the exit of a child. */
type Envelope<Message> =
  | { readonly message: Message }
  | { readonly child: AnyActorRef; readonly exit: ActorExit };

/** A cell as seen by those who do not speak its protocol. */
type AnyCell = Pick<
  Cell<never>,
  'path' | 'children' | 'exited' | 'alive' | 'stop' | 'watch' | 'watchStopping' | 'childEnded'
>;

const nothing = () => undefined;

/** One incarnation of one actor. */
class Cell<Message> {
  readonly path: string;
  readonly ref: ActorRef<Message>;
  readonly children = new Map<string, AnyCell>();
  readonly exited: Promise<ActorExit>;
  readonly #shared: Shared;
  readonly #parent: AnyCell | undefined;
  readonly #capacity: number;
  readonly #nactRef: nact.Ref<typeof TURN>;
  readonly #watchers = new Set<(exit: ActorExit) => void>();
  readonly #stopWatchers = new Set<() => void>();
  /** Cancellations of the timers and watches this actor holds. */
  readonly #held = new Set<() => void>();
  #resolveExited: (exit: ActorExit) => void = nothing;
  #phase: Phase = 'starting';
  /** Set once the actor is to end, which it does as soon as none of its code is running. */
  #exit: ActorExit | undefined;
  #behaviour: Behaviour<Message> | undefined;
  #mailbox: Envelope<Message>[] = [];
  #head = 0;
  #turnIsDue = false;

  constructor(shared: Shared, parent: AnyCell | undefined, name: string, capacity: number) {
    shared.counters.incarnations += 1;
    const incarnation = shared.counters.incarnations;
    this.#shared = shared;
    this.#parent = parent;
    this.#capacity = capacity;
    this.path = `${parent?.path ?? ''}/${name}`;
    this.ref = { name, path: this.path, incarnation, tell: (message) => this.#tell(message) };
    this.exited = new Promise((resolve) => {
      this.#resolveExited = resolve;
    });
    // Every actor is a root to nact, which copies the children of an actor for each of its messages.
    this.#nactRef = nact.spawn(shared.nact as nact.Ref<never>, () => this.#turn(), `${incarnation}`, {
      onCrash: (_turn: unknown, error: unknown, context: { stop: symbol }) => {
        this.#crashed(error);
        return context.stop;
      },
    } as never) as nact.Ref<typeof TURN>;
  }

  /** True until the actor is to end. */
  get alive(): boolean {
    return this.#exit === undefined;
  }

  start(init: ActorOptions<Message>['init']): void {
    try {
      const behaviour = init(this.#context());
      if (typeof behaviour?.receive !== 'function')
        throw new TypeError('expected init to return a behaviour');
      this.#behaviour = behaviour;
    } catch (error) {
      this.#crashed(error);
      throw new ActorStartError(`${this.path} did not start`, { cause: error });
    }
    this.#rest();
  }

  stop(exit: ActorExit): Promise<ActorExit> {
    if (this.#exit === undefined) {
      this.#exit = exit;
      if (this.#phase === 'idle') void this.#shutDown(exit);
    }
    return this.exited;
  }

  watch(callback: (exit: ActorExit) => void): () => void {
    if (this.#phase === 'stopped') {
      this.#notify(callback);
      return nothing;
    }
    const watcher = (exit: ActorExit) => callback(exit);
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Like `watch`, but told when the actor begins to stop: from then on it answers nobody. */
  watchStopping(callback: () => void): () => void {
    this.#stopWatchers.add(callback);
    return () => this.#stopWatchers.delete(callback);
  }

  childEnded(child: AnyActorRef, exit: ActorExit): void {
    this.#put({ child, exit });
  }

  get #pending(): number {
    return this.#mailbox.length - this.#head;
  }

  #tell(message: Message): Delivery {
    if (this.#exit === undefined && this.#pending >= this.#capacity) {
      this.#shared.counters.refused += 1;
      return 'full';
    }
    return this.#put({ message });
  }

  /** Past the bound: exits, timers and piped results must never be lost to a full mailbox. */
  #put(envelope: Envelope<Message>): Delivery {
    if (this.#exit !== undefined) {
      this.#giveUp(envelope);
      return 'dead';
    }
    this.#mailbox.push(envelope);
    this.#askForTurn();
    return 'accepted';
  }

  /** The same, for a message yet to be made by the behaviour's own code. */
  #putMade(make: () => Message): void {
    try {
      this.#put({ message: make() });
    } catch (error) {
      void this.stop({ kind: 'crash', error });
    }
  }

  #take(): Envelope<Message> {
    const envelope = this.#mailbox[this.#head] as Envelope<Message>;
    this.#head += 1;
    // Half of it is handled: moving the rest costs no more than a step per message, however long the mailbox is.
    if (this.#head * 2 >= this.#mailbox.length) {
      this.#mailbox = this.#mailbox.slice(this.#head);
      this.#head = 0;
    }
    return envelope;
  }

  /** For what this actor will never handle. */
  #giveUp(envelope: Envelope<Message>): void {
    if ('message' in envelope) this.#shared.counters.deadLetters += 1;
    else if (envelope.exit.kind === 'crash') this.#fault(envelope.child.path, envelope.exit.error);
  }

  #askForTurn(): void {
    if (this.#turnIsDue || this.#phase !== 'idle') return;
    this.#turnIsDue = true;
    nact.dispatch(this.#nactRef, TURN);
  }

  #turn(): void {
    this.#turnIsDue = false;
    if (this.#phase !== 'idle') return;
    this.#phase = 'handling';
    for (let handled = 0; handled < BATCH && this.#pending > 0 && this.#exit === undefined; handled += 1) {
      this.#handle(this.#take());
    }
    this.#rest();
  }

  #handle(envelope: Envelope<Message>): void {
    const behaviour = this.#behaviour as Behaviour<Message>;
    let result: unknown;
    if ('message' in envelope) {
      result = behaviour.receive(envelope.message);
    } else if (behaviour.childExited !== undefined) {
      result = behaviour.childExited(envelope.child, envelope.exit);
    } else if (envelope.exit.kind === 'crash') {
      throw envelope.exit.error;
    }
    if (result instanceof Promise) {
      result.catch((error) => this.#fault(this.path, error));
      throw new TypeError('expected a synchronous handler, got a promise: what takes time goes through pipe');
    }
  }

  /** Code of this actor has returned, so a stop that waited for it can begin. */
  #rest(): void {
    this.#phase = 'idle';
    if (this.#exit !== undefined) void this.#shutDown(this.#exit);
    else if (this.#pending > 0) this.#askForTurn();
  }

  /** Code of this actor has thrown: a crash, even if it had asked to stop before. */
  #crashed(error: unknown): void {
    this.#exit = { kind: 'crash', error };
    void this.#shutDown(this.#exit);
  }

  /** Runs once. All synchronous if `init` threw and had spawned no children, so that its name is free at once. */
  async #shutDown(exit: ActorExit): Promise<void> {
    this.#phase = 'stopping';
    for (const cancel of this.#held) cancel();
    for (const stopWatcher of this.#stopWatchers) stopWatcher();
    while (this.#pending > 0) this.#giveUp(this.#take());
    for (const child of [...this.children.values()].reverse()) await child.stop({ kind: 'shutdown' });
    const started = this.#behaviour !== undefined;
    if (started) await this.#terminate(exit);
    nact.stop(this.#nactRef);
    this.#behaviour = undefined;
    this.#phase = 'stopped';
    (this.#parent?.children ?? this.#shared.roots).delete(this.ref.name);
    this.#shared.counters.live -= 1;
    if (started) this.#tellParent(exit);
    for (const watcher of this.#watchers) this.#notify(watcher);
    this.#watchers.clear();
    this.#resolveExited(exit);
  }

  async #terminate(exit: ActorExit): Promise<void> {
    try {
      await this.#behaviour?.terminate?.(exit);
    } catch (error) {
      this.#fault(this.path, error);
    }
  }

  #tellParent(exit: ActorExit): void {
    if (this.#parent !== undefined) this.#parent.childEnded(this.ref, exit);
    else if (exit.kind === 'crash') this.#fault(this.path, exit.error);
  }

  /** A callback of somebody else must not keep this actor from ending. */
  #notify(watcher: (exit: ActorExit) => void): void {
    try {
      watcher(this.#exit as ActorExit);
    } catch (error) {
      this.#fault(this.path, error);
    }
  }

  #fault(path: string, error: unknown): void {
    this.#shared.system.onFault(path, error);
  }

  /** Begins something that may call back later; its cancellation is held until then, or until the actor ends. */
  #hold(begin: (done: () => void) => () => void): () => void {
    if (this.#exit !== undefined) return nothing;
    let cancel: () => void = nothing;
    const letGo = () => {
      this.#held.delete(letGo);
      cancel();
    };
    this.#held.add(letGo);
    cancel = begin(() => this.#held.delete(letGo));
    return letGo;
  }

  #context(): ActorContext<Message> {
    const { system } = this.#shared;
    return {
      self: this.ref,
      system,
      spawn: (options) => {
        if (this.#exit !== undefined) throw new Error(`${this.path} is stopping and spawns no more`);
        return spawn(this.#shared, this, options);
      },
      stop: () => void this.stop({ kind: 'normal' }),
      fail: (error) => void this.stop({ kind: 'crash', error }),
      after: (ms, message) =>
        this.#hold((done) =>
          system.clock.setTimer(ms, () => {
            done();
            this.#put({ message });
          }),
        ),
      pipe: (promise, fulfilled, rejected) => {
        void promise.then(
          (value) => this.#putMade(() => fulfilled(value)),
          (error) => this.#putMade(() => rejected(error)),
        );
      },
      watch: (target, message) =>
        this.#hold((done) =>
          system.watch(target, (exit) => {
            done();
            this.#putMade(() => message(exit));
          }),
        ),
    };
  }
}

/** The one message nact ever carries: "your mailbox has something". */
const TURN = Symbol('turn');
