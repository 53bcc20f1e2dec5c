/**
 * All pools: the supervisor above them, and how their number and their settings follow the configuration.
 *
 * A pool that is not configured any more takes no new queries; once it has nothing to do it is stopped and forgotten. One that
 * is configured again before that simply stays.
 */
import { ActorGoneError } from '../actors/actor.ts';
import type { PoolStatus } from '../actors/pool-status.ts';
import type { PoolConfig } from '../config/pools.ts';
import type { ChildSpec } from './child-spec.ts';
import type { Pool } from './pool.ts';
import { supervisorChild } from './supervisor-child.ts';
import { ChildCallError } from './supervisor-errors.ts';
import type { SupervisorEvent } from './supervisor-event.ts';
import type { SupervisorHandle } from './supervisor-handle.ts';

/** A pool with what belongs to it outside the tree. */
export interface PoolMember {
  readonly pool: Pool;
  readonly status: PoolStatus;
  /** Resolves once nothing waits and nothing runs in it; rejects with `ActorGoneError` when there is no queue to ask. */
  readonly drained: () => Promise<void>;
}

export interface PoolsOptions {
  readonly settings: Readonly<Record<string, PoolConfig>>;
  readonly create: (name: string, settings: PoolConfig) => PoolMember;
  readonly onEvent: (event: SupervisorEvent) => void;
  readonly onFault: (error: unknown) => void;
}

export class Pools {
  readonly #options: PoolsOptions;
  readonly #members = new Map<string, PoolMember>();
  /** Those on their way out. */
  readonly #leaving = new Set<string>();
  #supervisor: SupervisorHandle | undefined;
  #working: Promise<void> = Promise.resolve();

  constructor(options: PoolsOptions) {
    this.#options = options;
    for (const [name, settings] of Object.entries(options.settings)) {
      this.#members.set(name, options.create(name, settings));
    }
  }

  /** Also those that are on their way out. */
  statuses(): PoolStatus[] {
    return [...this.#members.values()].map(({ status }) => status);
  }

  status(name: string): PoolStatus | undefined {
    return this.#members.get(name)?.status;
  }

  /** The child for the root of the tree. */
  spec(): ChildSpec {
    return supervisorChild({
      id: 'pools',
      // A pool that is down comes back by its own backoff and never takes the others with it.
      intensity: Number.POSITIVE_INFINITY,
      onEvent: this.#options.onEvent,
      init: () => ({ children: [...this.#members.values()].map(({ pool }) => pool.spec()) }),
      onStarted: (supervisor) => {
        this.#supervisor = supervisor;
      },
      children: [],
    });
  }

  /**
   * Puts other settings in force; `replaces` says of a pool whether its processes were started with something else.
   * Resolves once pools that are new have started; the others follow by themselves.
   */
  reconfigure(
    settings: Readonly<Record<string, PoolConfig>>,
    replaces: (name: string, settings: PoolConfig) => boolean,
  ): Promise<void> {
    return this.#inTurn(async () => {
      for (const [name, wanted] of Object.entries(settings)) {
        this.#leaving.delete(name);
        const member = this.#members.get(name);
        if (member === undefined) await this.#add(name, wanted);
        else member.pool.reconfigure(wanted, { replace: replaces(name, wanted) });
      }
      for (const name of this.#members.keys()) if (!Object.hasOwn(settings, name)) this.#remove(name);
    });
  }

  async #add(name: string, settings: PoolConfig): Promise<void> {
    const member = this.#options.create(name, settings);
    this.#members.set(name, member);
    try {
      await this.#supervisor?.startChild(member.pool.spec());
    } catch (error) {
      // The supervisor is being started anew, and the one that comes starts all members; or it has come, and has.
      const isStarted = error instanceof ChildCallError && error.code === 'already_started';
      if (!isStarted && !(error instanceof ActorGoneError)) throw error;
    }
  }

  #remove(name: string): void {
    if (this.#leaving.has(name)) return;
    this.#leaving.add(name);
    const drained = this.#members.get(name)?.drained() ?? Promise.resolve();
    drained
      // A pool that is down has no queue, and nothing to wait for.
      .catch((error: unknown) => {
        if (!(error instanceof ActorGoneError)) throw error;
      })
      .then(() => this.#inTurn(() => this.#forget(name)))
      .catch(this.#options.onFault);
  }

  async #forget(name: string): Promise<void> {
    if (!this.#leaving.delete(name)) return;
    const id = `pool:${name}`;
    await this.#supervisor?.terminateChild(id);
    await this.#supervisor?.deleteChild(id);
    this.#members.delete(name);
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#working.then(work);
    this.#working = done.catch(() => undefined);
    return done;
  }
}
