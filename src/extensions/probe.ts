/**
 * DuckDB operations for the command line, each in a child process, so that the caller never loads native code
 * and a crash, a hang or a download without end costs a child.
 */
import { fork } from 'node:child_process';
import { createRequire } from 'node:module';
import type { DuckdbBuild } from './layout.ts';

export type ProbeRequest =
  | { readonly op: 'describe' }
  | {
      readonly op: 'install';
      readonly name: string;
      readonly directory: string;
      readonly repository: string | undefined;
    }
  | { readonly op: 'load'; readonly name: string; readonly path: string };

export type ProbeAnswer =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly type: string; readonly message: string };

/**
 * What went wrong: `duckdb` is DuckDB's typed refusal (`type` is its exception type), `crash` a child that ended
 * without an answer, `timeout` one that gave none in time, `aborted` the caller's own wish.
 */
export class ProbeError extends Error {
  override readonly name = 'ProbeError';
  readonly kind: 'duckdb' | 'crash' | 'timeout' | 'aborted';
  readonly type: string | undefined;

  constructor(kind: ProbeError['kind'], message: string, type?: string) {
    super(message);
    this.kind = kind;
    this.type = type;
  }
}

export interface ProbeOptions {
  /** Milliseconds until the child is killed. */
  readonly timeout: number;
  readonly signal?: AbortSignal;
}

/** The child's program as it is built. */
const PROBE_MAIN = createRequire(import.meta.url).resolve('#extension-probe');
const LOCAL_TIMEOUT = 60_000;

/** Version and platform of the DuckDB that the workers run. */
export async function describeDuckdb(signal?: AbortSignal): Promise<DuckdbBuild> {
  return (await probe({ op: 'describe' }, local(signal))) as DuckdbBuild;
}

/** Loads the file at an absolute path, which checks its signature, DuckDB version and platform. */
export async function loadExtension(
  name: string,
  path: string,
  signal?: AbortSignal,
): Promise<{ readonly extensionVersion: string }> {
  return (await probe({ op: 'load', name, path }, local(signal))) as { extensionVersion: string };
}

/** DuckDB's own `INSTALL` into `directory`, from the official repository or a mirror of it. */
export async function installExtension(
  name: string,
  directory: string,
  repository: string | undefined,
  options: ProbeOptions,
): Promise<void> {
  await probe({ op: 'install', name, directory, repository }, options);
}

function local(signal: AbortSignal | undefined): ProbeOptions {
  return signal === undefined ? { timeout: LOCAL_TIMEOUT } : { timeout: LOCAL_TIMEOUT, signal };
}

/** Settles once the child has really ended, so that its files are nobody's any more. */
async function probe(request: ProbeRequest, { timeout, signal }: ProbeOptions): Promise<unknown> {
  signal?.throwIfAborted();
  const child = fork(PROBE_MAIN, [], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    execArgv: [],
  });
  let outcome: ProbeAnswer | ProbeError | undefined;
  let stderr = '';
  const end = (result: ProbeAnswer | ProbeError) => {
    outcome ??= result;
    child.kill('SIGKILL');
  };
  const timer = setTimeout(() => end(new ProbeError('timeout', `no answer within ${timeout} ms`)), timeout);
  const abort = () => end(new ProbeError('aborted', 'interrupted'));
  signal?.addEventListener('abort', abort, { once: true });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-500);
  });
  child.on('message', (answer: ProbeAnswer) => end(answer));
  child.on('error', (error) => end(new ProbeError('crash', error.message)));
  const closed = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('close', (code, endSignal) => resolve({ code, signal: endSignal }));
  });
  child.send(request, (error) => {
    if (error !== null) end(new ProbeError('crash', error.message));
  });
  const exit = await closed;
  clearTimeout(timer);
  signal?.removeEventListener('abort', abort);
  if (outcome === undefined) {
    const how = exit.signal === null ? `with exit code ${exit.code}` : `by ${exit.signal}`;
    throw new ProbeError(
      'crash',
      `the DuckDB process ended ${how}${stderr === '' ? '' : `: ${stderr.trim()}`}`,
    );
  }
  if (outcome instanceof ProbeError) throw outcome;
  if (!outcome.ok) throw new ProbeError('duckdb', firstLine(outcome.message), outcome.type);
  return outcome.value;
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text;
}
