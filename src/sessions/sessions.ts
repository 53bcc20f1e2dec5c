/**
 * All sessions: who may use which, admission by number and memory, and their end.
 *
 * A session ends in one way whatever it ends of: nobody gets in any more, its queries are cancelled, its worker is gone, its
 * files are wiped; and only then is that said to whoever asked for it. What an API process that was killed left behind is swept by
 * the next one (run-folder.ts). Sessions do not outlive the API process.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ActorGoneError, type Clock } from '../actors/actor.ts';
import { type Placement, placeQuery } from '../actors/placement.ts';
import type { QueryRequest, QueryService } from '../actors/query.ts';
import type { QueryTable } from '../actors/query-table.ts';
import type { PoolConfig } from '../config/pools.ts';
import type { Config } from '../config/schema.ts';
import { Failure, shuttingDown } from '../failures.ts';
import type { SessionPatch, SessionRequest, SessionService, SessionView } from '../http/services.ts';
import { ANONYMOUS, maySeeQueriesOf, type Principal, requireSource } from '../principal.ts';
import type { ChildSpec } from '../supervisors/child-spec.ts';
import type { PoolMember } from '../supervisors/pools.ts';
import { supervisorChild } from '../supervisors/supervisor-child.ts';
import { ChildCallError } from '../supervisors/supervisor-errors.ts';
import type { SupervisorEvent } from '../supervisors/supervisor-event.ts';
import type { SupervisorHandle } from '../supervisors/supervisor-handle.ts';
import type { Events } from '../telemetry/events.ts';
import { allocatedBytes } from '../workers/folder-size.ts';
import type { RunFolders } from '../workers/run-folder.ts';
import { Session, type SessionEnd } from './session.ts';
import { poolOfSession, sessionOfPool } from './session-pool.ts';
import { hardLimits, sessionSettings } from './session-settings.ts';

/** What a session hears of its pool. */
export interface SessionPoolHooks {
  /** Of the workspace's file. */
  readonly workspace: string;
  readonly onReady: () => void;
  readonly onRecovering: () => void;
  /** Its worker died too often. */
  readonly onDown: () => void;
  readonly onVolatile: (names: readonly string[]) => void;
}

export interface SessionsOptions {
  readonly config: () => Config;
  readonly clock: Clock;
  /** Where workspaces are. */
  readonly folders: RunFolders;
  readonly table: QueryTable;
  readonly queries: Pick<QueryService, 'cancel'>;
  readonly events: Events;
  readonly createPool: (sessionId: string, settings: PoolConfig, hooks: SessionPoolHooks) => PoolMember;
  readonly onEvent: (event: SupervisorEvent) => void;
  readonly onFault: (error: unknown) => void;
}

interface Member {
  readonly session: Session;
  readonly pool: PoolMember;
  cancelTimer: () => void;
  ending: Promise<void> | undefined;
}

/** Of ended sessions so many are known as such; an older one is as unknown as one that never was. */
const KEPT_ENDED = 1_000;
/** A timer holds no more than 24 days. */
const LOOK_AGAIN_MS = 86_400_000;
const WHY: Readonly<Record<SessionEnd, string>> = {
  deleted: 'was deleted',
  expired: 'has expired',
  idle: 'was idle for too long',
  failed: 'has failed: its worker died again and again',
  revoked: 'has ended: its owner may not come in any more',
  shutdown: 'ended with the server',
};

export class Sessions implements SessionService {
  readonly #options: SessionsOptions;
  readonly #members = new Map<string, Member>();
  readonly #ended = new Map<string, { readonly owner: string; readonly why: SessionEnd }>();
  readonly #off: (() => void)[];
  #supervisor: SupervisorHandle | undefined;

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
      events.on('worker.exited', ({ pool, cause }) => {
        if (cause !== 'shutdown') memberOf(pool)?.session.workerDied();
      }),
    ];
  }

  /** The child for the root of the tree. */
  spec(): ChildSpec {
    return supervisorChild({
      id: 'sessions',
      // One that dies too often ends, and takes no other with it.
      intensity: Number.POSITIVE_INFINITY,
      onEvent: this.#options.onEvent,
      init: () => ({
        children: [...this.#members.values()]
          .filter(({ session }) => session.isLive)
          .map(({ pool }) => pool.pool.spec()),
      }),
      onStarted: (supervisor) => {
        this.#supervisor = supervisor;
      },
      children: [],
    });
  }

  /** How many there are, by what they are at. */
  counts(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { session } of this.#members.values())
      counts.set(session.shownState, (counts.get(session.shownState) ?? 0) + 1);
    return counts;
  }

  async open(request: SessionRequest, principal: Principal): Promise<SessionView> {
    const { clock, config, folders, createPool } = this.#options;
    const { sessions } = config();
    const sources = checkedSources(request.sources ?? [], principal, config());
    const settings = sessionSettings({
      memoryLimit: request.memoryLimit ?? sessions.memory_limit,
      diskLimit: request.diskLimit ?? sessions.disk_limit,
      threads: request.threads ?? DEFAULT_THREADS,
    });
    checkLimits(request, sessions);
    this.#admit(settings);
    const id = `s-${randomBytes(12).toString('hex')}`;
    const folder = join(folders.own, id);
    const now = clock.now();
    const session = new Session({
      ...{ id, name: request.name, owner: principal.name, sources, settings, folder, now },
      idleTimeoutMs: request.idleTimeoutMs ?? sessions.idle_timeout,
      createdAt: Date.now(),
      expiresAt: now + (request.ttlMs ?? sessions.ttl),
    });
    const pool = createPool(id, settings, {
      workspace: join(folder, 'workspace.duckdb'),
      onReady: () => {
        if (session.isLive && session.state !== 'ready') this.#to(session, 'ready');
      },
      onRecovering: () => {
        if (session.isLive && session.state !== 'recovering') this.#to(session, 'recovering');
      },
      onDown: () => void this.#end(id, 'failed'),
      onVolatile: (names) => {
        session.volatile = names;
      },
    });
    const member: Member = { session, pool, cancelTimer: () => undefined, ending: undefined };
    // Before anything is waited for: the next one is admitted by what this one takes.
    this.#members.set(id, member);
    this.#watchClock(member);
    this.#options.events.emit('session.opened', { sessionId: id, owner: session.owner, sources });
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      if (this.#supervisor === undefined) throw shuttingDown();
      await this.#supervisor.startChild(pool.pool.spec());
    } catch (error) {
      // A supervisor that begins anew begins with all that live.
      const isStarted = error instanceof ChildCallError && error.code === 'already_started';
      if (!isStarted) {
        await this.#end(id, 'failed');
        throw error instanceof ActorGoneError ? shuttingDown() : error;
      }
    }
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
    checkLimits(patch, config().sessions);
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
   * `SESSION_EXPIRED`, `SESSION_BUSY` where the query would have to wait and does not say that it will.
   */
  place(request: QueryRequest, id: string): Placement {
    const { session } = this.#use(id, request.principal);
    if (request.pool !== undefined) throw invalid('pool', 'a session has a worker of its own');
    if (request.keep !== undefined)
      throw invalid(
        'session',
        'results of a session are not kept: send the query to POST /v1/query, without wait_ms',
      );
    const foreign = request.sources.findIndex((alias) => !session.sources.includes(alias));
    if (foreign !== -1)
      throw invalid(`sources[${foreign}]`, 'is none of the session; PATCH the session to add it');
    if (session.pending > 0 && request.queueTimeoutMs === undefined) {
      const detail = `Session ${id} is at another query; try again, or wait in line with queue_timeout_ms.`;
      throw new Failure('SESSION_BUSY', detail, { retryAfter: 1 });
    }
    const pool = poolOfSession(id);
    const config = { ...this.#options.config(), pools: { [pool]: session.settings } };
    const principal = { ...request.principal, pools: undefined };
    // The limits of the session's one instance are those of the session.
    const own = { ...request, principal, pool, memoryLimit: undefined, threads: undefined };
    const placement = placeQuery({ ...own, sources: session.sources }, config);
    // Its workspace is its own to write to; to write to a source takes what it always takes (placement.ts).
    return { ...placement, statement: { ...placement.statement, write: !request.readOnly } };
  }

  /** Why the pool of a session takes no query. */
  unavailable(id: string): Failure {
    return expired(id, this.#ended.get(id)?.why ?? 'deleted');
  }

  /** When the tree is gone: nothing is left of any of them. */
  async closeAll(): Promise<void> {
    for (const off of this.#off) off();
    for (const member of this.#members.values()) member.cancelTimer();
    await this.#options.folders.close();
  }

  #admit(settings: PoolConfig): void {
    const { sessions, pools, budget } = this.#options.config();
    const live = [...this.#members.values()].map(({ session }) => session);
    if (live.length >= sessions.max)
      throw overloaded(`There are ${live.length} sessions, the most there may be.`);
    const total = hardLimits([...Object.values(pools), ...live.map((session) => session.settings), settings]);
    if (total > budget.memory)
      throw overloaded(
        `All workers could take ${total} bytes then, and ${budget.memory} is the most (budget.memory).`,
      );
  }

  #use(id: string, principal: Principal): Member {
    const member = this.#members.get(id);
    const ended = this.#ended.get(id);
    const owner = member?.session.owner ?? ended?.owner;
    if (owner === undefined || !maySeeQueriesOf(principal, owner))
      throw new Failure('NOT_FOUND', `There is no session ${JSON.stringify(id)}.`);
    if (member?.session.isLive === true) return member;
    throw expired(id, ended?.why ?? 'deleted');
  }

  #to(session: Session, state: Session['state']): void {
    const from = session.state;
    session.to(state);
    this.#options.events.emit('session.state', { sessionId: session.id, from, state, lost: session.lost });
  }

  /** One way out, taken once. */
  #end(id: string, why: SessionEnd): Promise<void> {
    const member = this.#members.get(id);
    if (member === undefined) return Promise.resolve();
    member.ending ??= this.#wipe(member, why).catch(this.#options.onFault);
    return member.ending;
  }

  async #wipe({ session, cancelTimer }: Member, why: SessionEnd): Promise<void> {
    const { table, queries, events } = this.#options;
    const { id, owner } = session;
    cancelTimer();
    this.#to(session, 'ending');
    this.#ended.set(id, { owner, why });
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > KEPT_ENDED && oldest !== undefined) this.#ended.delete(oldest);
    const pool = poolOfSession(id);
    const left = [...table.unfinished()].filter((record) => record.pool === pool);
    // In the name of its end, which may cancel whatever is in it.
    const canceller: Principal = { ...ANONYMOUS, name: `the end of session ${id}, which ${WHY[why]}` };
    await Promise.all(left.map(({ queryId }) => queries.cancel(queryId, canceller))).catch(() => undefined);
    await this.#stopPool(id);
    await rm(session.folder, { recursive: true, force: true, maxRetries: 3 });
    this.#members.delete(id);
    this.#to(session, 'ended');
    events.emit('session.ended', { sessionId: id, owner, why });
  }

  async #stopPool(id: string): Promise<void> {
    try {
      await this.#supervisor?.terminateChild(id);
      await this.#supervisor?.deleteChild(id);
    } catch (error) {
      // It never started, or went with its supervisor.
      if (!(error instanceof ChildCallError) && !(error instanceof ActorGoneError)) throw error;
    }
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
    const idleAt = (session.pending > 0 ? now : session.usedAt) + session.idleTimeoutMs;
    return {
      session_id: session.id,
      name: session.name ?? null,
      owner: session.owner,
      state: session.shownState,
      sources: session.sources,
      created_at: session.createdAt,
      expires_at: onWallClock(session.expiresAt),
      idle_expires_at: onWallClock(Math.min(idleAt, session.expiresAt)),
      memory_limit: session.settings.memory_limit,
      disk_limit: session.settings.temp_limit,
      threads: session.settings.threads,
      disk_used_bytes: await allocatedBytes(session.folder),
      lost: session.lost,
    };
  }
}

const DEFAULT_THREADS = 2;

function checkedSources(
  aliases: readonly string[],
  principal: Principal,
  { sources }: Pick<Config, 'sources'>,
): readonly string[] {
  for (const [index, alias] of aliases.entries()) {
    requireSource(principal, alias);
    if (!Object.hasOwn(sources, alias))
      throw invalid(`sources[${index}]`, `there is no source ${JSON.stringify(alias)}`);
  }
  return [...new Set(aliases)];
}

/** A client may ask for less than what is configured, and for no more. */
function checkLimits(asked: SessionPatch & Partial<SessionRequest>, sessions: Config['sessions']): void {
  const limits = [
    ['ttl_ms', asked.ttlMs, sessions.ttl],
    ['idle_timeout_ms', asked.idleTimeoutMs, sessions.idle_timeout],
    ['memory_limit', asked.memoryLimit, sessions.memory_limit],
    ['disk_limit', asked.diskLimit, sessions.disk_limit],
  ] as const;
  for (const [path, wanted, most] of limits)
    if (wanted !== undefined && wanted > most) throw invalid(path, `expected ${most} at most`);
}

function expired(id: string, why: SessionEnd): Failure {
  return new Failure('SESSION_EXPIRED', `Session ${id} ${WHY[why]}; open another one.`, {
    members: { reason: why },
  });
}

function overloaded(why: string): Failure {
  return new Failure('OVERLOADED', `${why} Close one, or try again later.`, { retryAfter: 5 });
}

function invalid(path: string, message: string): Failure {
  return new Failure('INVALID_REQUEST', `${path}: ${message}`, { members: { errors: [{ path, message }] } });
}
