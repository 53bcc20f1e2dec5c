/**
 * Fills the extension folder, so that serving never downloads anything.
 *
 * For each name: a file that is there and loads stays. Otherwise DuckDB's own `INSTALL` is tried, then the
 * Python wheel with the same file. Either lands in a scratch folder beside its destination, is loaded there
 * (DuckDB checks signature, version and platform), and only then takes its place by rename. So a file in the
 * folder is always whole and was always good, and two installs at once only do the same work twice.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type DuckdbBuild, extensionFile, extensionFileName, extensionFolder } from './layout.ts';
import { describeDuckdb, installExtension, loadExtension, ProbeError } from './probe.ts';
import { fetchFromWheel, WheelError, wheelRequirement } from './wheel.ts';

const REPOSITORY_TIMEOUT = 15_000;
/** A scratch folder this old has lost its owner to a SIGKILL. */
const SCRATCH_MAX_AGE = 3_600_000;
const SCRATCH_PREFIX = '.installing-';

export interface InstallOptions {
  readonly directory: string;
  readonly names: readonly string[];
  /** A mirror in place of the official repository: a URL or a folder, as in `INSTALL name FROM '...'`. */
  readonly repository?: string;
  /** Milliseconds for one file from the repository; it may hang, and the wheel is still to be tried. */
  readonly repositoryTimeout?: number;
  readonly signal?: AbortSignal;
  /** Called once a name is done, in the order of `names`. */
  readonly onOutcome?: (outcome: InstallOutcome) => void;
}

export interface InstallAttempt {
  readonly from: string;
  readonly problem: string;
}

export type InstallOutcome =
  | {
      readonly name: string;
      readonly path: string;
      readonly state: 'present' | 'installed';
      /** Where it came from; undefined for one that was there. */
      readonly from: string | undefined;
      readonly bytes: number;
    }
  | {
      readonly name: string;
      readonly path: string;
      readonly state: 'failed';
      readonly attempts: readonly InstallAttempt[];
    };

export interface InstallReport {
  readonly build: DuckdbBuild;
  readonly folder: string;
  readonly outcomes: readonly InstallOutcome[];
}

/** Where one file may come from: leaves it at the returned path below `scratch`. */
interface Origin {
  readonly title: string;
  readonly fetch: (scratch: string) => Promise<string>;
}

/**
 * Installs every name, or says for each that failed what was tried. Rejects for what concerns all of them:
 * a folder that cannot be written (the `fs` error), a binding that does not start ({@link ProbeError}), an abort.
 */
export async function installExtensions(options: InstallOptions): Promise<InstallReport> {
  const { names, repository, repositoryTimeout = REPOSITORY_TIMEOUT, signal } = options;
  const directory = resolve(options.directory);
  const build = await describeDuckdb(signal);
  const folder = extensionFolder(directory, build);
  await mkdir(folder, { recursive: true });
  await removeAbandoned(folder);

  let repositoryAnswers = true;
  const fromRepository = async (name: string, scratch: string) => {
    if (!repositoryAnswers) throw new ProbeError('timeout', 'not asked again');
    try {
      await installExtension(name, scratch, repository, {
        timeout: repositoryTimeout,
        ...(signal !== undefined && { signal }),
      });
    } catch (error) {
      // An HTTP exception is an answer about this one file; anything else will meet the next file too.
      repositoryAnswers = error instanceof ProbeError && error.type === 'HTTP';
      throw error;
    }
    return extensionFile(scratch, build, name);
  };

  const outcomes: InstallOutcome[] = [];
  for (const name of names) {
    const origins: Origin[] = [
      { title: repository ?? "DuckDB's repository", fetch: (scratch) => fromRepository(name, scratch) },
      {
        title: `wheel ${wheelRequirement(build, name)}`,
        fetch: (scratch) => fetchFromWheel(build, name, scratch, signal),
      },
    ];
    const outcome = await installOne(name, extensionFile(directory, build, name), origins, signal);
    outcomes.push(outcome);
    options.onOutcome?.(outcome);
  }
  return { build, folder, outcomes };
}

async function installOne(
  name: string,
  path: string,
  origins: readonly Origin[],
  signal: AbortSignal | undefined,
): Promise<InstallOutcome> {
  const attempts: InstallAttempt[] = [];
  const present = await sizeOf(path);
  if (present !== undefined) {
    try {
      await loadExtension(name, path, signal);
      return { name, path, state: 'present', from: undefined, bytes: present };
    } catch (error) {
      attempts.push({ from: 'the file that is there', problem: problemOf(error, signal) });
    }
  }
  for (const origin of origins) {
    const scratch = join(dirname(path), `${SCRATCH_PREFIX}${randomUUID()}`);
    await mkdir(scratch);
    try {
      const file = await origin.fetch(scratch);
      // The name of the file is the name of the function that DuckDB calls in it: only the folder may differ.
      await loadExtension(name, file, signal);
      const bytes = (await stat(file)).size;
      await rename(file, path);
      return { name, path, state: 'installed', from: origin.title, bytes };
    } catch (error) {
      attempts.push({ from: origin.title, problem: problemOf(error, signal) });
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }
  return { name, path, state: 'failed', attempts };
}

/** The text of a failure that concerns one origin; anything else, and an abort, goes on up. */
function problemOf(error: unknown, signal: AbortSignal | undefined): string {
  signal?.throwIfAborted();
  if (error instanceof ProbeError || error instanceof WheelError) return error.message;
  throw error;
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function removeAbandoned(folder: string): Promise<void> {
  for (const entry of await readdir(folder)) {
    if (!entry.startsWith(SCRATCH_PREFIX)) continue;
    const path = join(folder, entry);
    const changed = await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => Number.POSITIVE_INFINITY, // Its owner finished in the meantime.
    );
    if (Date.now() - changed > SCRATCH_MAX_AGE) await rm(path, { recursive: true, force: true });
  }
}

/** What `duckcoop extensions list` knows of one file. */
export interface ExtensionFile {
  readonly name: string;
  readonly path: string;
  /** Undefined when there is no such file. */
  readonly bytes: number | undefined;
  /** The extension's own version; undefined when it does not load. */
  readonly version: string | undefined;
  /** Why it does not load. */
  readonly problem: string | undefined;
}

/** Every file in the folder of this build, and every name of `expected` whether it is there or not. */
export async function listExtensions(
  directory: string,
  expected: readonly string[],
  signal?: AbortSignal,
): Promise<{
  readonly build: DuckdbBuild;
  readonly folder: string;
  readonly files: readonly ExtensionFile[];
}> {
  const build = await describeDuckdb(signal);
  const folder = extensionFolder(resolve(directory), build);
  const suffix = extensionFileName('');
  const entries = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const found = entries
    .filter((entry) => entry.endsWith(suffix))
    .map((entry) => entry.slice(0, -suffix.length));
  const files: ExtensionFile[] = [];
  for (const name of [...new Set([...expected, ...found.sort()])]) {
    const path = join(folder, extensionFileName(name));
    const bytes = await sizeOf(path);
    if (bytes === undefined) {
      files.push({ name, path, bytes, version: undefined, problem: 'not installed' });
      continue;
    }
    try {
      const { extensionVersion } = await loadExtension(name, path, signal);
      files.push({ name, path, bytes, version: extensionVersion, problem: undefined });
    } catch (error) {
      files.push({ name, path, bytes, version: undefined, problem: problemOf(error, signal) });
    }
  }
  return { build, folder, files };
}
