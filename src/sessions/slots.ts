/**
 * Where sessions live: a worker of its own, with its queue, as a pool of one; and a folder with the workspace. A slot
 * that nobody has yet is a **spare**: its worker is started and warm, and has seen no statement of anybody's.
 *
 * ```
 *               take, or claim anew            end                        nothing is left
 *    (spare) ----------------------> (taken) -------> stopping, wiped -------------------> (forgotten)
 *       |                                                ^
 *       +---- other settings, or no room for it ---------+
 * ```
 *
 * A slot is taken once, and never given back. Spares are replaced in the background, count towards the budget of memory, and make
 * way for a session that needs their room. One whose worker dies is restarted as any worker is.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ActorGoneError, type Clock } from '../actors/actor.ts';
import type { PoolConfig } from '../config/pools.ts';
import { shuttingDown } from '../failures.ts';
import type { ChildSpec } from '../supervisors/child-spec.ts';
import type { PoolMember } from '../supervisors/pools.ts';
import { supervisorChild } from '../supervisors/supervisor-child.ts';
import { ChildCallError } from '../supervisors/supervisor-errors.ts';
import type { SupervisorEvent } from '../supervisors/supervisor-event.ts';
import type { SupervisorHandle } from '../supervisors/supervisor-handle.ts';
import type { RunFolders } from '../workers/run-folder.ts';
import { type AdmissionConfig, bytesLeft, refusalOf } from './admission.ts';
import { hardLimits } from './session-settings.ts';

/** What a slot's pool is made with, and tells. */
export interface SlotHooks {
  /** Of the workspace's file. */
  readonly workspace: string;
  readonly isSpare: () => boolean;
  readonly onReady: () => void;
  readonly onRecovering: () => void;
  /** Its worker died too often. */
  readonly onDown: () => void;
  /** What it has in memory alone by now, and what of that was lost before its last statement. */
  readonly onVolatile: (names: readonly string[], lost: readonly string[] | undefined) => void;
}

/** What becomes of the worker of a slot that is taken. */
export type SlotListener = Omit<SlotHooks, 'workspace' | 'isSpare'>;

export interface Slot {
  /** Of the session that has it, or will. */
  readonly id: string;
  readonly settings: PoolConfig;
  readonly folder: string;
  readonly pool: PoolMember;
  /** What its worker was started with, to be compared. */
  readonly launch: string;
  readonly worker: 'starting' | 'ready' | 'recovering';
  /** Resolves once its part of the tree is there; its worker may take longer. */
  readonly started: Promise<void>;
}

export interface SlotsOptions {
  readonly config: () => AdmissionConfig;
  readonly clock: Clock;
  /** Where workspaces are. */
  readonly folders: RunFolders;
  readonly createPool: (sessionId: string, settings: PoolConfig, hooks: SlotHooks) => PoolMember;
  /** What a worker that starts now with these settings is started with. */
  readonly launchOf: (settings: PoolConfig) => string;
  /** Of a session that asks for nothing else. */
  readonly spareSettings: () => PoolConfig;
  readonly isDraining: () => boolean;
  readonly onEvent: (event: SupervisorEvent) => void;
  readonly onFault: (error: unknown) => void;
}

interface OwnSlot extends Slot {
  worker: Slot['worker'];
  started: Promise<void>;
  /** Whoever has it; undefined for a spare. */
  listener: SlotListener | undefined;
  ending: Promise<void> | undefined;
}

const REPLACED_AFTER_MS = 200;

export class Slots {
  readonly #options: SlotsOptions;
  readonly #slots = new Map<string, OwnSlot>();
  #supervisor: SupervisorHandle | undefined;
  #cancelTimer: () => void = () => undefined;

  constructor(options: SlotsOptions) {
    this.#options = options;
  }

  /** The child for the root of the tree. */
  spec(): ChildSpec {
    return supervisorChild({
      id: 'sessions',
      // One that dies too often ends, and takes no other with it.
      intensity: Number.POSITIVE_INFINITY,
      onEvent: this.#options.onEvent,
      init: () => ({ children: this.#all().map(({ pool }) => pool.pool.spec()) }),
      onStarted: (supervisor) => {
        this.#supervisor = supervisor;
      },
      children: [],
    });
  }

  get spares(): number {
    return this.#spares().length;
  }

  isSpare(id: string): boolean {
    const slot = this.#slots.get(id);
    return slot !== undefined && slot.listener === undefined;
  }

  /**
   * A spare, where one was started with just that; else a new slot. Throws `OVERLOADED` where there is no room for it; what
   * is there is reserved before this returns. Wait for `started`.
   */
  claim(settings: PoolConfig, listener: (slot: Slot) => SlotListener): Slot {
    // Those that are ending hold what they have until it is gone.
    const open = [...this.#slots.values()].filter((slot) => slot.listener !== undefined);
    const refusal = refusalOf(this.#options.config(), open.map(settingsOf), settings);
    if (refusal !== undefined) throw refusal;
    const spare = this.#spareFor(settings);
    const slot = spare ?? this.#create(settings);
    slot.listener = listener(slot);
    this.#endSurplus();
    if (spare === undefined) slot.started = this.#startWithRoom(slot);
    // To start the next spare takes the machine as much as the first queries of this session do: those first.
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.setTimer(REPLACED_AFTER_MS, () => this.settle());
    return slot;
  }

  /** Stops its worker and wipes its folder; resolves when nothing is left of it. */
  async end({ id }: Slot): Promise<void> {
    const slot = this.#slots.get(id);
    if (slot === undefined) return;
    slot.ending ??= this.#wipe(slot);
    await slot.ending;
    this.settle();
  }

  /** Brings about as many spares as there are to be, and there is room for, with the settings of now. */
  settle(): void {
    this.#cancelTimer();
    this.#endSurplus();
    const { config, spareSettings, isDraining, onFault } = this.#options;
    const settings = spareSettings();
    const fits = () => bytesLeft(config(), this.#settings()) >= hardLimits([settings]);
    // One on its way out holds its memory to the end; what waits for its room comes when that is over.
    while (!isDraining() && this.#spares().length < this.#wanted() && fits()) {
      const slot = this.#create(settings);
      slot.started = this.#start(slot);
      slot.started.catch((error: unknown) => {
        // Not tried again before something else happens: what it failed of may last.
        slot.ending ??= this.#wipe(slot);
        slot.ending.catch(onFault);
        if (!(error instanceof ActorGoneError)) onFault(error);
      });
    }
  }

  /** When the tree is gone: nothing is left of any of them. */
  async closeAll(): Promise<void> {
    this.#cancelTimer();
    await this.#options.folders.close();
  }

  #endSurplus(): void {
    for (const slot of this.#surplus()) void this.end(slot).catch(this.#options.onFault);
  }

  #all(): OwnSlot[] {
    return [...this.#slots.values()].filter(({ ending }) => ending === undefined);
  }

  /** Of all whose processes may be there. */
  #settings(): PoolConfig[] {
    return [...this.#slots.values()].map(settingsOf);
  }

  #spares(): OwnSlot[] {
    return this.#all().filter(({ listener }) => listener === undefined);
  }

  /** How many spares there are to be: no more than sessions that may still come. */
  #wanted(): number {
    const { sessions } = this.#options.config();
    const taken = this.#all().length - this.#spares().length;
    return Math.max(0, Math.min(sessions.spare, sessions.max - taken));
  }

  /** Spares that are too many, take up room that is not there, or were started with what nobody gets any more. */
  #surplus(): OwnSlot[] {
    const { config, spareSettings, launchOf } = this.#options;
    const launch = launchOf(spareSettings());
    const outdated = this.#spares().filter((slot) => slot.launch !== launch);
    const current = this.#spares().filter((slot) => slot.launch === launch);
    const wanted = this.#wanted();
    const kept: OwnSlot[] = [];
    const taken = this.#all().filter(({ listener }) => listener !== undefined);
    for (const slot of current) {
      const left = bytesLeft(config(), [...taken, ...kept, slot].map(settingsOf));
      if (kept.length < wanted && left >= 0) kept.push(slot);
    }
    return [...outdated, ...current.filter((slot) => !kept.includes(slot))];
  }

  /** The one that is furthest; none whose worker has died, which may die again. */
  #spareFor(settings: PoolConfig): OwnSlot | undefined {
    const launch = this.#options.launchOf(settings);
    const spares = this.#spares().filter((slot) => slot.launch === launch);
    return (
      spares.find(({ worker }) => worker === 'ready') ?? spares.find(({ worker }) => worker === 'starting')
    );
  }

  #create(settings: PoolConfig): OwnSlot {
    const { folders, createPool, launchOf } = this.#options;
    const id = `s-${randomBytes(12).toString('hex')}`;
    const folder = join(folders.own, id);
    const pool = createPool(id, settings, {
      workspace: join(folder, 'workspace.duckdb'),
      isSpare: () => slot.listener === undefined,
      onReady: () => {
        slot.worker = 'ready';
        slot.listener?.onReady();
      },
      onRecovering: () => {
        slot.worker = 'recovering';
        slot.listener?.onRecovering();
      },
      // A spare comes back by the pool's own backoff.
      onDown: () => {
        slot.worker = 'recovering';
        slot.listener?.onDown();
      },
      onVolatile: (names, lost) => slot.listener?.onVolatile(names, lost),
    });
    const slot: OwnSlot = {
      ...{ id, settings, folder, pool },
      launch: launchOf(settings),
      worker: 'starting',
      started: Promise.resolve(),
      listener: undefined,
      ending: undefined,
    };
    this.#slots.set(id, slot);
    return slot;
  }

  /** Once the spares are gone whose room it takes. */
  async #startWithRoom(slot: OwnSlot): Promise<void> {
    const leaving = () =>
      [...this.#slots.values()].flatMap(({ listener, ending }) =>
        listener === undefined ? (ending ?? []) : [],
      );
    while (bytesLeft(this.#options.config(), this.#settings()) < 0 && leaving().length > 0)
      await Promise.all(leaving());
    await this.#start(slot);
  }

  async #start({ folder, pool }: OwnSlot): Promise<void> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (this.#supervisor === undefined) throw shuttingDown();
    try {
      await this.#supervisor.startChild(pool.pool.spec());
    } catch (error) {
      // A supervisor that begins anew begins with all that live.
      if (!(error instanceof ChildCallError && error.code === 'already_started')) throw error;
    }
  }

  async #wipe(slot: OwnSlot): Promise<void> {
    // What is on its way into the tree could not be taken out of it yet.
    await slot.started.catch(() => undefined);
    try {
      await this.#stop(slot);
      await rm(slot.folder, { recursive: true, force: true, maxRetries: 3 });
    } finally {
      this.#slots.delete(slot.id);
    }
  }

  async #stop({ id }: OwnSlot): Promise<void> {
    try {
      await this.#supervisor?.terminateChild(id);
      await this.#supervisor?.deleteChild(id);
    } catch (error) {
      // It never started, or went with its supervisor.
      if (!(error instanceof ChildCallError) && !(error instanceof ActorGoneError)) throw error;
    }
  }
}

const settingsOf = ({ settings }: Slot): PoolConfig => settings;
