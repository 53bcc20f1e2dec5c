/**
 * Crash reports as files: `<crash id>.json` in a private folder (0700, files 0600), written behind and kept for a while.
 *
 * Nobody waits for the disk. A report is listed from the moment it is added; when its file cannot be written, that is a fault,
 * and it stays in memory until it would have been removed anyway. Files are ours if their name is a crash id; others are never
 * touched. Of our own, one that makes no sense is skipped, and goes when its time has come.
 *
 * Several servers may share the folder. What another one wrote is seen at the next start.
 */
import { chmod, lstat, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isCrashId, timeOfCrashId } from './crash-id.ts';
import {
  type CrashReport,
  type CrashSummary,
  crashReportSchema,
  crashSummarySchema,
} from './crash-report.ts';

export interface CrashStoreSettings {
  /** Reports that are kept at most. */
  readonly keep: number;
  /** Milliseconds for which one is kept at most. */
  readonly max_age: number;
}

export interface CrashStoreOptions {
  readonly folder: string;
  /** Asked for at each use. */
  readonly settings: () => CrashStoreSettings;
  /** Milliseconds since the epoch. */
  readonly wallClock: () => number;
  /** Something could not be read or written; nothing else follows from it. */
  readonly onFault: (error: unknown) => void;
}

export interface CrashFilter {
  readonly limit: number;
  /** The id of the last one seen. */
  readonly before: string | undefined;
  readonly pool: string | undefined;
  readonly cause: string | undefined;
  readonly principal: string | undefined;
  readonly fingerprint: string | undefined;
}

/** Larger than any report that we write. */
const LARGEST_FILE = 1_000_000;
/** A temporary file that is older is nobody's any more. */
const ABANDONED_MS = 3_600_000;

interface Kept {
  readonly summary: CrashSummary;
  /** Until it is in its file. */
  report: CrashReport | undefined;
}

export class CrashStore {
  readonly #options: CrashStoreOptions;
  readonly #kept = new Map<string, Kept>();
  #unwritten: CrashReport[] = [];
  #writing: Promise<void> | undefined;

  private constructor(options: CrashStoreOptions) {
    this.#options = options;
  }

  /** With the reports of former runs, and without what is too old or too much of them. Never rejects. */
  static async open(options: CrashStoreOptions): Promise<CrashStore> {
    const store = new CrashStore(options);
    await store.#attempt(() => store.#makeFolder());
    await store.#attempt(() => chmod(options.folder, 0o700));
    await store.#attempt(() => store.#sweep());
    await store.#attempt(() => store.#load());
    return store;
  }

  add(report: CrashReport): void {
    this.#kept.set(report.crash_id, { summary: crashSummarySchema.parse(report), report });
    this.#dropOld();
    // A disk that hangs makes no heap of what is not kept any more.
    this.#unwritten = [...this.#unwritten, report].filter(({ crash_id }) => this.#kept.has(crash_id));
    // Nothing is left to write where the report is one too many already: a clock that was set back.
    if (this.#unwritten.length > 0) this.#writing ??= this.#writeAll();
  }

  /** Newest first. `next` is the id to go on before. */
  list({ limit, before, ...filter }: CrashFilter): {
    readonly crashes: readonly CrashSummary[];
    readonly next: string | undefined;
  } {
    this.#dropOld();
    const matching = [...this.#kept.values()]
      .map(({ summary }) => summary)
      .filter(({ crash_id }) => before === undefined || crash_id < before)
      .filter(({ pool }) => filter.pool === undefined || pool === filter.pool)
      .filter(({ cause }) => filter.cause === undefined || cause === filter.cause)
      .filter(({ principal }) => filter.principal === undefined || principal === filter.principal)
      .filter(({ fingerprint }) => filter.fingerprint === undefined || fingerprint === filter.fingerprint)
      .sort((one, other) => (one.crash_id < other.crash_id ? 1 : -1));
    const crashes = matching.slice(0, limit);
    return { crashes, next: matching.length > limit ? crashes.at(-1)?.crash_id : undefined };
  }

  async get(id: string): Promise<CrashReport | undefined> {
    this.#dropOld();
    const kept = this.#kept.get(id);
    if (kept === undefined) return undefined;
    const report = kept.report ?? (await this.#read(id).catch(() => undefined));
    // Somebody else has removed it or written something else there.
    if (report === undefined) this.#kept.delete(id);
    return report;
  }

  /** Resolves once everything has been written or has failed. */
  async close(): Promise<void> {
    await this.#writing;
  }

  /** From memory, at once; the files follow with the next sweep. */
  #dropOld(): void {
    const ids = [...this.#kept.keys()].sort().reverse();
    for (const id of this.#tooMany(ids)) this.#kept.delete(id);
  }

  /** Of ids, newest first, those that are not kept any more. */
  #tooMany(ids: readonly string[]): string[] {
    const { keep, max_age } = this.#options.settings();
    const oldest = this.#options.wallClock() - max_age;
    return ids.filter((id, index) => index >= keep || timeOfCrashId(id) < oldest);
  }

  async #writeAll(): Promise<void> {
    for (;;) {
      const report = this.#unwritten.shift();
      if (report === undefined) break;
      await this.#attempt(async () => {
        await this.#write(report);
        const kept = this.#kept.get(report.crash_id);
        if (kept !== undefined) kept.report = undefined;
      });
      // Behind a burst of crashes once, not each time.
      if (this.#unwritten.length === 0) await this.#attempt(() => this.#sweep());
    }
    this.#writing = undefined;
  }

  /** The file is whole or not there, even if the machine stops in the middle. */
  async #write(report: CrashReport): Promise<void> {
    const temporary = this.#path(`.${report.crash_id}.${process.pid}.tmp`);
    await this.#makeFolder();
    try {
      const content = `${JSON.stringify(report)}\n`;
      await writeFile(temporary, content, { mode: 0o600, flag: 'wx', flush: true });
      await rename(temporary, this.#path(`${report.crash_id}.json`));
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async #sweep(): Promise<void> {
    const { wallClock } = this.#options;
    const names = await this.#files();
    for (const id of this.#tooMany(idsIn(names))) await this.#remove(`${id}.json`);
    for (const name of names.filter(isTemporary)) {
      const stats = await lstat(this.#path(name)).catch(() => undefined);
      if (stats !== undefined && wallClock() - stats.mtimeMs > ABANDONED_MS) await this.#remove(name);
    }
  }

  async #load(): Promise<void> {
    for (const id of idsIn(await this.#files()).reverse()) {
      await this.#attempt(async () => {
        const summary = crashSummarySchema.parse(await this.#read(id));
        this.#kept.set(id, { summary, report: undefined });
      });
    }
  }

  /** Names of regular files: a folder, a link or a pipe is none of ours, whatever its name. */
  async #files(): Promise<string[]> {
    const entries = await readdir(this.#options.folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  }

  /** One that cannot be removed keeps no other from being. */
  #remove(name: string): Promise<void> {
    return this.#attempt(() => rm(this.#path(name), { force: true }));
  }

  async #read(id: string): Promise<CrashReport> {
    const file = this.#path(`${id}.json`);
    const stats = await lstat(file);
    // Somebody may have put a pipe there, which would be waited for.
    if (!stats.isFile() || stats.size > LARGEST_FILE) throw new Error(`${file} is no crash report`);
    const report = crashReportSchema.parse(JSON.parse(await readFile(file, 'utf8')));
    if (report.crash_id !== id) throw new Error(`${file} is the report of another crash`);
    return report;
  }

  #path(name: string): string {
    return join(this.#options.folder, name);
  }

  async #makeFolder(): Promise<void> {
    await mkdir(this.#options.folder, { recursive: true, mode: 0o700 });
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#options.onFault(error);
    }
  }
}

function isTemporary(name: string): boolean {
  return isCrashId(/^\.(.+)\.\d+\.tmp$/.exec(name)?.[1] ?? '');
}

/** Newest first. */
function idsIn(names: readonly string[]): string[] {
  return names
    .flatMap((name) => (name.endsWith('.json') ? name.slice(0, -'.json'.length) : []))
    .filter(isCrashId)
    .sort()
    .reverse();
}
