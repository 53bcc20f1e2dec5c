/**
 * `duckcoop serve`: a wrong configuration ends here, before anything is started; a right one is served until SIGTERM
 * or SIGINT, which drain; a second one ends it at once. Exit codes: 0 after an orderly stop, 1 when the server gave up, 2 for a wrong configuration.
 */
import { type Stats, unwatchFile, watchFile } from 'node:fs';
import { loadConfig } from '../config/load.ts';
import { loadConfigAside } from '../config/load-aside.ts';
import { formatProblems } from '../config/problems.ts';
import { EgressExitError } from '../egress/egress-process.ts';
import { createLogger } from '../telemetry/log.ts';
import { CliError, EXIT, messageOf } from './exit.ts';

export interface ServeOptions {
  readonly config?: string;
  readonly host?: string;
  readonly port?: number;
  readonly insecure?: boolean;
}

/** How often a watched file is looked at. */
const WATCH_MS = 1_000;

/** Ctrl-C under npm comes twice, from the terminal and from npm, and is one wish all the same. */
const SAME_SIGNAL_MS = 1_000;

/** Resolves when the server has stopped and nothing of it is left. */
export async function serveCommand(options: ServeOptions): Promise<void> {
  const { config: file, ...overrides } = options;
  const where = { overrides, ...(file !== undefined && { file }) };
  const loaded = loadConfig(where);
  if (!loaded.ok) {
    throw new CliError(EXIT.usage, `wrong configuration\n${formatProblems(loaded.problems, file)}`);
  }
  const { config, warnings } = loaded;
  const log = createLogger(config.telemetry.log_level);
  for (const { path, message } of warnings) log.warn({ event: 'config.warning', path }, message);
  // The server, and all that it needs, is loaded by no other command.
  const { startServer } = await import('../main.ts');
  // Its default is to end the process. What is read now is what the file says anyway.
  const early = () => log.info({ event: 'reload' }, 'still starting');
  process.on('SIGHUP', early);
  const server = await startServer(config, log, () => loadConfigAside(where)).catch((error: unknown) => {
    throw new CliError(EXIT.failed, cannotServe(error, config.server), { cause: error });
  });
  let askedAt: number | undefined;
  const stop = (signal: NodeJS.Signals) => {
    if (askedAt === undefined) {
      askedAt = performance.now();
      log.info({ event: 'stopping', signal }, 'stopping');
      server.stop().catch((error: unknown) => log.error({ event: 'fault', err: error }, 'stopping failed'));
    } else if (performance.now() - askedAt > SAME_SIGNAL_MS) {
      // Whoever asks again means at once: the workers go with this process, and the next start sweeps its folder.
      process.off(signal, stop);
      process.kill(process.pid, signal);
    }
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // What came of it is in the log.
  const reload = (trigger: 'signal' | 'watch') => {
    server.reload(trigger).catch((error: unknown) => {
      if (askedAt === undefined) log.error({ event: 'fault', err: error }, 'reload failed');
    });
  };
  process.off('SIGHUP', early);
  process.on('SIGHUP', () => reload('signal'));
  const unwatch = file !== undefined && config.reload.watch ? watch(file, () => reload('watch')) : undefined;
  void server.ready.then(() => log.info({ event: 'listening', url: server.url }, 'listening'));
  await server.ended;
  unwatch?.();
  log.info({ event: 'stopped' }, 'stopped');
  if (askedAt === undefined)
    throw new CliError(EXIT.failed, 'the supervision tree gave up; its log says why');
}

/** By polling: it also sees a file that is replaced by another, or that is a link to one. Returns the end of it. */
function watch(file: string, onChange: () => void): () => void {
  const listener = (now: Stats, then: Stats) => {
    // A file that is gone for a moment is being replaced.
    if (now.ino !== 0 && (now.mtimeMs !== then.mtimeMs || now.ino !== then.ino)) onChange();
  };
  watchFile(file, { interval: WATCH_MS, persistent: false }, listener);
  return () => unwatchFile(file, listener);
}

/** What the system calls an address that cannot be had (listen(2), bind(2)), for people. */
const LISTEN_PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process listens there',
  EADDRNOTAVAIL: 'this machine has no such address',
  EACCES: 'this user may not listen there',
  ENOTFOUND: 'the name is unknown',
};

function cannotServe(
  error: unknown,
  { host, port }: { readonly host: string; readonly port: number },
): string {
  const root = rootCause(error);
  const code = root instanceof Error ? (root as NodeJS.ErrnoException).code : undefined;
  const problem = code === undefined ? undefined : LISTEN_PROBLEMS[code];
  if (root instanceof EgressExitError) {
    const why =
      problem === undefined
        ? root.message
        : `the egress process cannot listen on ${root.where}: ${problem} (${code})`;
    return `cannot serve: ${why}; exports.egress says where it listens`;
  }
  if (problem === undefined) return `cannot serve: ${messageOf(error)}`;
  return `cannot serve on ${host}:${port}: ${problem} (${code})`;
}

function rootCause(error: unknown): unknown {
  let root = error;
  while (root instanceof Error && root.cause !== undefined) root = root.cause;
  return root;
}
