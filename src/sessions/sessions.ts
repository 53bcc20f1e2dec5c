/**
 * All sessions: who may use which, what becomes of their workers, and their end.
 *
 * A session ends in one way whatever it ends of: nobody gets in any more, its queries are cancelled, its worker is gone, its
 * files are wiped; and only then is that said to whoever asked for it. What an API process that was killed left behind is swept by
 * the next one (run-folder.ts). Sessions do not outlive the API process.
 */
import { ActorGoneError, type Clock } from '../actors/actor.ts';
import type { Placement } from '../actors/placement.ts';
import type { QueryRequest, QueryService } from '../actors/query.ts';
import type { QueryTable } from '../actors/query-table.ts';
import type { Config } from '../config/schema.ts';
import { Failure, shuttingDown } from '../failures.ts';
import type { SessionPatch, SessionRequest, SessionService, SessionView } from '../http/services.ts';
import { ANONYMOUS, maySeeQueriesOf, type Principal } from '../principal.ts';
import type { Events } from '../telemetry/events.ts';
import { allocatedBytes } from '../workers/folder-size.ts';
import { Session } from './session.ts';
import { cancellerOf, EndedSessions, type SessionEnd } from './session-end.ts';
import { placeInSession } from './session-placement.ts';
import { poolLabel, poolOfSession, sessionOfPool } from './session-pool.ts';
import { checkedSources, checkLimits, settingsFor } from './session-request.ts';
import type { Slots } from './slots.ts';

export interface SessionsOptions {
  readonly config: () => Config;
  readonly clock: Clock;
  readonly slots: Slots;
  readonly table: QueryTable;
  readonly queries: Pick<QueryService, 'cancel'>;
  readonly events: Events;
  readonly onFault: (error: unknown) => void;
}

interface Member {
  readonly session: Session;
  cancelTimer: () => void;
  ending: Promise<void> | undefined;
}

/** A timer holds no more than 24 days. */
const LOOK_AGAIN_MS = 86_400_000;

export class Sessions implements SessionService {
  readonly #options: SessionsOptions;
  readonly #members = new Map<string, Member>();
  readonly #ended = new EndedSessions();
  readonly #off: (() => void)[];

  constructor(options: SessionsOptions) {
    this.#options = options;
    const { events, clock } = options;
    const memberOf = (pool: string) => this.#members.get(sessionOfPool(pool) ?? '');
    this.#off = [
      events.on('query.started', ({ pool }) => {
        const member = memberOf(pool);
        if (member !== undefined) member.session.pending += 1;
      }),
      events.on('query.ended', ({ pool }) => {
        const member = memberOf(pool);
        if (member === undefined) return;
        member.session.pending -= 1;
        member.session.usedAt = clock.now();
        this.#watchClock(member);
      }),
      events.on('worker.ready', ({ pool }) => memberOf(pool)?.session.workerReady()),
      events.on('worker.exited', ({ pool, cause, damagedWorkspace, detail }) => {
        const session = memberOf(pool)?.session;
        if (session?.isLive !== true) return;
        if (cause === 'shutdown') {
          session.workerReplaced();
          return;
        }
        const isBeyondHelp = session.workerDied();
        if (damagedWorkspace === true) void this.#end(session.id, 'damaged', detail);
        else if (isBeyondHelp) void this.#end(session.id, 'failed');
      }),
    ];
  }

  /** How many there are, by what they are at. */
  counts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { session } of this.#members.values())
      counts.set(session.shownState, (counts.get(session.shownState) ?? 0) + 1);
    return counts;
  }

  async open(request: SessionRequest, principal: Principal): Promise<SessionView> {
    const { clock, config, slots, events } = this.#options;
    const sources = checkedSources(request.sources ?? [], principal, config());
    checkLimits(request, config());
    const { sessions } = config();
    const now = clock.now();
    const slot = slots.claim(settingsFor(request, config()), (slot) => {
      const session = new Session({
        ...{ slot, name: request.name, owner: principal.name, sources, now },
        idleTimeoutMs: request.idleTimeoutMs ?? sessions.idle_timeout,
        createdAt: Date.now(),
        expiresAt: now + (request.ttlMs ?? sessions.ttl),
      });
      this.#members.set(slot.id, { session, cancelTimer: () => undefined, ending: undefined });
      return {
        onReady: () => this.#to(session, 'ready'),
        onRecovering: () => this.#to(session, 'recovering'),
        onDown: () => void this.#end(slot.id, 'failed'),
        onVolatile: (names, lost) => {
          session.volatile = names;
          if (lost !== undefined) session.lost = lost;
        },
      };
    });
    const member = this.#members.get(slot.id) as Member;
    const { session } = member;
    this.#watchClock(member);
    events.emit('session.opened', { sessionId: slot.id, owner: session.owner, sources });
    if (slot.worker === 'ready') this.#to(session, 'ready');
    try {
      await slot.started;
    } catch (error) {
      await this.#end(slot.id, 'failed');
      throw error instanceof ActorGoneError ? shuttingDown() : error;
    }
    if (!session.isLive) throw this.#ended.failure(slot.id);
    return await this.#view(session);
  }

  async list(principal: Principal): Promise<readonly SessionView[]> {
    const own = [...this.#members.values()].filter(({ session }) =>
      maySeeQueriesOf(principal, session.owner),
    );
    return await Promise.all(own.map(({ session }) => this.#view(session)));
  }

  async get(id: string, principal: Principal): Promise<SessionView> {
    return await this.#view(this.#use(id, principal).session);
  }

  async change(id: string, patch: SessionPatch, principal: Principal): Promise<SessionView> {
    const member = this.#use(id, principal);
    const { session } = member;
    const { config, clock } = this.#options;
    checkLimits(patch, config());
    if (patch.sources !== undefined) session.sources = checkedSources(patch.sources, principal, config());
    if (patch.ttlMs !== undefined) session.expiresAt = clock.now() + patch.ttlMs;
    if (patch.idleTimeoutMs !== undefined) session.idleTimeoutMs = patch.idleTimeoutMs;
    this.#watchClock(member);
    return await this.#view(session);
  }

  async close(id: string, principal: Principal): Promise<void> {
    this.#use(id, principal);
    await this.#end(id, 'deleted');
  }

  /** Ends all sessions of somebody who may not come in any more; resolves when nothing is left of them. */
  async endSessionsOf(owner: string): Promise<void> {
    const own = [...this.#members.values()].filter(({ session }) => session.owner === owner);
    await Promise.all(own.map(({ session }) => this.#end(session.id, 'revoked')));
  }

  /**
   * Where a query of a session runs. Throws `NOT_FOUND` for one that is not there or not the principal's,
   * `SESSION_EXPIRED`, and what {@link placeInSession} throws.
   */
  place(request: QueryRequest, id: string): Placement {
    return placeInSession(request, this.#use(id, request.principal).session, this.#options.config());
  }

  /** Why the pool of a session takes no query. */
  unavailable(id: string): Failure {
    if (this.#members.get(id)?.session.isLive !== true) return this.#ended.failure(id);
    const detail = `Session ${id} is being started anew, as an operator wanted; try again.`;
    return new Failure('POOL_DOWN', detail, {
      retryAfter: 1,
      members: { pool: poolLabel(poolOfSession(id)) },
    });
  }

  /** When the tree is gone. */
  closeAll(): void {
    for (const off of this.#off) off();
    for (const member of this.#members.values()) member.cancelTimer();
  }

  #use(id: string, principal: Principal): Member {
    const member = this.#members.get(id);
    const owner = member?.session.owner ?? this.#ended.get(id)?.owner;
    if (owner === undefined || !maySeeQueriesOf(principal, owner))
      throw new Failure('NOT_FOUND', `There is no session ${JSON.stringify(id)}.`);
    if (member?.session.isLive === true) return member;
    throw this.#ended.failure(id);
  }

  #to(session: Session, state: Session['state']): void {
    const from = session.state;
    if (from === state || (!session.isLive && state !== 'ended')) return;
    session.to(state);
    this.#options.events.emit('session.state', { sessionId: session.id, from, state, lost: session.lost });
  }

  /** One way out, taken once. */
  #end(id: string, why: SessionEnd, detail?: string): Promise<void> {
    const member = this.#members.get(id);
    if (member === undefined) return Promise.resolve();
    member.ending ??= this.#wipe(member, why, detail).catch(this.#options.onFault);
    return member.ending;
  }

  async #wipe({ session, cancelTimer }: Member, why: SessionEnd, detail: string | undefined): Promise<void> {
    const { table, queries, events, slots } = this.#options;
    const { id, owner, slot } = session;
    cancelTimer();
    this.#to(session, 'ending');
    this.#ended.add(id, { owner, why, detail });
    const pool = poolOfSession(id);
    const left = [...table.unfinished()].filter((record) => record.pool === pool);
    // In the name of its end, which may cancel whatever is in it.
    const canceller: Principal = { ...ANONYMOUS, name: cancellerOf(id, why) };
    // Whoever deleted it has cancelled its query; to anybody else that is how the session ended.
    const failure = why === 'deleted' ? undefined : this.#ended.failure(id);
    await Promise.all(left.map(({ queryId }) => queries.cancel(queryId, canceller, failure))).catch(
      () => undefined,
    );
    // What cannot be wiped now is swept by the next server; its worker is gone in any case.
    await slots.end(slot).catch(this.#options.onFault);
    this.#members.delete(id);
    this.#to(session, 'ended');
    events.emit('session.ended', { sessionId: id, owner, why });
  }

  #watchClock(member: Member): void {
    const { clock } = this.#options;
    const { session } = member;
    member.cancelTimer();
    if (!session.isLive) return;
    const { at } = session.due(clock.now());
    const look = () => {
      const { at, why } = session.due(clock.now());
      if (at <= clock.now()) void this.#end(session.id, why);
      else this.#watchClock(member);
    };
    member.cancelTimer = clock.setTimer(Math.min(Math.max(0, at - clock.now()), LOOK_AGAIN_MS), look);
  }

  async #view(session: Session): Promise<SessionView> {
    const now = this.#options.clock.now();
    const onWallClock = (at: number) => Math.round(Date.now() + at - now);
    const { settings, folder } = session.slot;
    return {
      session_id: session.id,
      name: session.name ?? null,
      owner: session.owner,
      state: session.shownState,
      sources: session.sources,
      created_at: session.createdAt,
      expires_at: onWallClock(session.expiresAt),
      idle_expires_at: onWallClock(session.due(now).at),
      memory_limit: settings.memory_limit,
      disk_limit: settings.temp_limit,
      threads: settings.threads,
      disk_used_bytes: await allocatedBytes(folder),
      lost: session.lost,
    };
  }
}
