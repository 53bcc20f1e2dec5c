/**
 * Statements that are held back because they crashed workers.
 *
 * ```
 *             `crashes` crashes within `window`               `for` is over, or lifted
 *   suspected ---------------------------------> quarantined --------------------------> (forgotten, or suspected)
 *       |                                             |
 *       +------ its crashes have left the window      +------ evicted, where there are too many
 * ```
 *
 * A quarantine that ends by itself leaves the crashes that are still in the window: one more, and the statement is held
 * back again. One that is lifted by a person leaves nothing. A crash while it stands (of a query that had begun before)
 * is noted and does not prolong it, so that `until` stays true.
 *
 * Pure: `now` is passed in, milliseconds of which only differences mean anything. No more than `capacity` statements are
 * known at a time. Another one takes the place of the suspected one that has been quiet for longest, and only where there
 * is none of those, of the quarantined one that has.
 */

export interface QuarantineSettings {
  readonly crashes: number;
  /** Milliseconds. */
  readonly window: number;
  /** Milliseconds. */
  readonly for: number;
}

/** A worker that this statement crashed. */
export interface StatementCrash {
  readonly fingerprint: string;
  /** Normalised. */
  readonly statement: string;
  readonly crashId: string;
  readonly principal: string;
  readonly pool: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Times in milliseconds since the epoch. */
export interface Quarantined {
  readonly fingerprint: string;
  readonly statement: string;
  /** Of the last crashes, oldest first. */
  readonly crashIds: readonly string[];
  /** Who sent it, and where it ran; the last ones, if there are many. */
  readonly principals: readonly string[];
  readonly pools: readonly string[];
  readonly firstCrashAt: number;
  readonly lastCrashAt: number;
  readonly since: number;
  readonly until: number;
}

export interface CrashConsequence {
  /** The crash put its statement under quarantine. */
  readonly started: Quarantined | undefined;
  /** Quarantines that ended to make room. */
  readonly evicted: readonly Quarantined[];
}

/** More than a person reads, few enough for a statement that crashes for hours. */
const KEPT_NAMES = 20;

interface Suspect {
  readonly fingerprint: string;
  readonly statement: string;
  readonly firstCrashAt: number;
  lastCrashAt: number;
  readonly crashIds: string[];
  readonly principals: string[];
  readonly pools: string[];
  /** When it crashed, as `now` counts; no more than may still count. */
  crashes: number[];
  hold: { readonly since: number; readonly until: number; readonly endsAt: number } | undefined;
}

export class Quarantine {
  readonly #settings: () => QuarantineSettings;
  readonly #capacity: number;
  /** By fingerprint, the longest quiet one first. */
  readonly #suspects = new Map<string, Suspect>();
  #held = 0;

  /** The settings are asked for at each crash. A quarantine that stands keeps its end. */
  constructor(settings: () => QuarantineSettings, capacity = 1_000) {
    this.#settings = settings;
    this.#capacity = capacity;
  }

  /** No statement is held back: nobody needs to find out which one a query has. */
  get isEmpty(): boolean {
    return this.#held === 0;
  }

  record(crash: StatementCrash, now: number): CrashConsequence {
    const { crashes, window, for: duration } = this.#settings();
    this.#forgetQuiet(now - window);
    const suspect = this.#suspects.get(crash.fingerprint) ?? newSuspect(crash);
    this.#suspects.delete(crash.fingerprint);
    const evicted = this.#makeRoom();
    this.#suspects.set(crash.fingerprint, suspect);

    suspect.lastCrashAt = crash.at;
    keep(suspect.crashIds, crash.crashId);
    keep(suspect.principals, crash.principal);
    keep(suspect.pools, crash.pool);
    suspect.crashes = [...suspect.crashes.filter((at) => at > now - window), now].slice(-crashes);
    if (suspect.hold !== undefined || suspect.crashes.length < crashes)
      return { started: undefined, evicted };
    suspect.hold = { since: crash.at, until: crash.at + duration, endsAt: now + duration };
    this.#held += 1;
    return { started: viewOf(suspect, suspect.hold), evicted };
  }

  find(fingerprint: string, now: number): Quarantined | undefined {
    const suspect = this.#suspects.get(fingerprint);
    if (suspect?.hold === undefined || suspect.hold.endsAt <= now) return undefined;
    return viewOf(suspect, suspect.hold);
  }

  /** What is held back, the latest first. */
  list(now: number): Quarantined[] {
    return [...this.#suspects.keys()].flatMap((fingerprint) => this.find(fingerprint, now) ?? []).reverse();
  }

  /** Ends those whose time is over, and says which. To be called now and then; nothing else depends on it. */
  expire(now: number): Quarantined[] {
    if (this.#held === 0) return [];
    return this.#endEach(({ hold }) => hold !== undefined && hold.endsAt <= now);
  }

  /** Ends one and forgets its crashes; undefined where it is not held back. */
  lift(fingerprint: string, now: number): Quarantined | undefined {
    const lifted = this.find(fingerprint, now);
    if (lifted !== undefined) {
      this.#suspects.delete(fingerprint);
      this.#held -= 1;
    }
    return lifted;
  }

  /** Ends all of them, and forgets every crash. */
  liftAll(now: number): Quarantined[] {
    const lifted = this.list(now);
    this.#suspects.clear();
    this.#held = 0;
    return lifted;
  }

  #endEach(isOver: (suspect: Suspect) => boolean): Quarantined[] {
    const ended: Quarantined[] = [];
    for (const suspect of this.#suspects.values()) {
      if (suspect.hold === undefined || !isOver(suspect)) continue;
      ended.push(viewOf(suspect, suspect.hold));
      suspect.hold = undefined;
      this.#held -= 1;
    }
    return ended;
  }

  /** Those that crashed nothing since. */
  #forgetQuiet(since: number): void {
    for (const { fingerprint, crashes, hold } of this.#suspects.values()) {
      if (hold === undefined && (crashes.at(-1) ?? since) <= since) this.#suspects.delete(fingerprint);
    }
  }

  #makeRoom(): Quarantined[] {
    if (this.#suspects.size < this.#capacity) return [];
    const all = [...this.#suspects.values()];
    const quietest = all.find(({ hold }) => hold === undefined) ?? all[0];
    if (quietest === undefined) return [];
    this.#suspects.delete(quietest.fingerprint);
    if (quietest.hold === undefined) return [];
    this.#held -= 1;
    return [viewOf(quietest, quietest.hold)];
  }
}

function newSuspect({ fingerprint, statement, at }: StatementCrash): Suspect {
  return {
    fingerprint,
    statement,
    firstCrashAt: at,
    lastCrashAt: at,
    crashIds: [],
    principals: [],
    pools: [],
    crashes: [],
    hold: undefined,
  };
}

/** Each name once, the latest last. */
function keep(names: string[], name: string): void {
  const index = names.indexOf(name);
  if (index !== -1) names.splice(index, 1);
  names.push(name);
  if (names.length > KEPT_NAMES) names.shift();
}

function viewOf(suspect: Suspect, { since, until }: NonNullable<Suspect['hold']>): Quarantined {
  const { fingerprint, statement, firstCrashAt, lastCrashAt } = suspect;
  return {
    fingerprint,
    statement,
    crashIds: [...suspect.crashIds],
    principals: [...suspect.principals],
    pools: [...suspect.pools],
    firstCrashAt,
    lastCrashAt,
    since,
    until,
  };
}
