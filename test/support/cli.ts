/** The `duckcoop` command as a process: the built one, in `dist`. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const DUCKCOOP = fileURLToPath(new URL('../../bin/duckcoop.js', import.meta.url));

export interface RunOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** A descriptor for its standard output, in place of the pipe. */
  readonly stdout?: number;
  /** Leaves its input open, for the test to write to. */
  readonly keepInput?: boolean;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output as it came. */
  readonly bytes: Buffer;
}

export interface Running {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
}

/** Runs the command to its end. */
export function duckcoop(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return startDuckcoop(args, options).ended;
}

/** Starts the command; it is killed when the test ends and it has not. */
export function startDuckcoop(args: readonly string[], options: RunOptions = {}): Running {
  return startNode([DUCKCOOP, ...args], options);
}

/** Starts any script with this Node. */
export function startNode(args: readonly string[], options: RunOptions = {}): Running {
  return startProgram(process.execPath, args, options);
}

/** Starts any program. */
export function startProgram(
  program: string,
  args: readonly string[],
  { cwd, env, input, stdout: output, keepInput = false }: RunOptions = {},
): Running {
  // Whatever server the developer talks to is not the test's.
  const { DUCKCOOP_URL: _url, DUCKCOOP_KEY: _key, ...inherited } = process.env;
  const stdio: StdioOptions = ['pipe', output ?? 'pipe', 'pipe'];
  const child = spawn(program, args, { cwd, env: { ...inherited, ...env }, stdio });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin?.on('error', () => {}); // It may end without reading its input.
  if (!keepInput) child.stdin?.end(input);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const bytes = Buffer.concat(stdout);
      resolve({ code, signal, bytes, stdout: bytes.toString(), stderr: Buffer.concat(stderr).toString() });
    });
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended.catch(() => undefined);
  });
  return { process: child, ended };
}
