/**
 * How a worker process is started: which program with which limits, environment and descriptors.
 *
 * Limits that must stand before DuckDB loads are set by `sh` (ulimit), `chrt` and `setpriv`, which become node by exec,
 * so the process id stays the same. Nothing secret is in argv or the environment.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';

/** The worker's program as it is built. */
export const WORKER_MAIN = createRequire(import.meta.url).resolve('#worker');

export interface LaunchOptions {
  /** The worker's program, compiled. */
  readonly main: string;
  readonly folder: string;
  /** Bytes of the data segment (RLIMIT_DATA, setrlimit(2)); what passes it fails to allocate. */
  readonly memoryHardLimit: number;
  /** Bytes that a file of the worker may have (RLIMIT_FSIZE): its whole quota of disk. */
  readonly diskQuota: number;
  /** Running statements plus what DuckDB and node need beside: libuv's pool must never be the bottleneck. */
  readonly threads: number;
}

/**
 * MiB that a worker's heap grows to before all of it is collected for the first time (node --v8-options). V8 counts what JavaScript
 * sees of DuckDB's memory as well: a result of thirty megabytes was a full collection, and those a fifth of what a stream of Arrow costs.
 */
const INITIAL_OLD_SPACE = 96;

/** What a worker may know of its environment; everything else stays here. */
const INHERITED = ['PATH', 'LANG', 'LC_ALL', 'TZ', 'SSL_CERT_FILE', 'SSL_CERT_DIR'];

/**
 * Limits in the shell's units: no core dump, KiB for the data segment, blocks of 512 bytes for a file (POSIX, ulimit). A write beyond
 * the last one fails with EFBIG, since node ignores SIGXFSZ.
 */
const SET_LIMITS = 'ulimit -c 0; ulimit -d "$1"; ulimit -f "$2"; shift 2; exec "$@"';

/** Starts the process. Control channel on fd 3, data pipe on fd 4, stderr piped; an ENOENT is an `error` event. */
export function launch(options: LaunchOptions): ChildProcess {
  const limits = [options.memoryHardLimit / 1024, options.diskQuota / 512].map((limit) =>
    String(Math.ceil(limit)),
  );
  const flags = ['--no-warnings', `--initial-old-space-size=${INITIAL_OLD_SPACE}`];
  const node = [process.execPath, ...flags, options.main];
  const wrappers = [...yieldToParent(), ...dieWithParent()];
  return spawn('/bin/sh', ['-c', SET_LIMITS, 'duckcoop-worker', ...limits, ...wrappers, ...node], {
    cwd: options.folder,
    env: environment(options),
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
    // A session of its own: Ctrl-C at a terminal is for the API, which then ends its workers in order.
    detached: true,
  });
}

function environment(options: LaunchOptions): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = {
    // DuckDB looks for ~/.duckdb: nothing of the operator's is there for it.
    HOME: options.folder,
    TMPDIR: options.folder,
    UV_THREADPOOL_SIZE: String(Math.max(4, options.threads + 2)),
  };
  for (const name of INHERITED) {
    const value = process.env[name];
    if (value !== undefined) environment[name] = value;
  }
  return environment;
}

/**
 * The kernel ends the worker when the API process dies (PR_SET_PDEATHSIG, prctl(2)), even one whose own thread is stuck
 * in native code and cannot see its channel close. Where util-linux has no setpriv, the closed channel has to do.
 */
function dieWithParent(): string[] {
  return isInstalled('setpriv') ? ['setpriv', '--pdeathsig', 'KILL', '--'] : [];
}

/**
 * A worker that wakes up does not push the API process off its core: it is the API's own write that wakes it (SCHED_BATCH,
 * sched(7)). That is worth a twentieth of the throughput of point queries, and more where cores are few.
 */
function yieldToParent(): string[] {
  return isInstalled('chrt') ? ['chrt', '--batch', '0'] : [];
}

const installed = new Map<string, boolean>();

function isInstalled(program: string): boolean {
  const known = installed.get(program);
  if (known !== undefined) return known;
  const folders = process.platform === 'linux' ? (process.env.PATH ?? '').split(delimiter) : [];
  const found = folders.some((folder) => folder !== '' && existsSync(join(folder, program)));
  installed.set(program, found);
  return found;
}
