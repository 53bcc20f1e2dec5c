/**
 * A database server of the test run's own, started from installed binaries in a temporary folder on a free port.
 *
 * A guard shell stands between us and the server: it stops the server and removes the folder once its standard
 * input ends, which also happens when the test process is killed. So nothing is left behind, whatever happens.
 */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, chownSync, constants, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ThrowawayServer {
  readonly port: number;
  /** Resolves once the server is gone and its folder with it. */
  stop(): Promise<void>;
}

export interface ThrowawayRecipe {
  readonly title: string;
  /** Binaries it needs, by name; when one is missing there is no server. */
  readonly binaries: readonly string[];
  /** Commands that make the data folder, then the command that is the server. */
  commands(binary: (name: string) => string, folder: string, port: number): readonly (readonly string[])[];
  /** How the server is asked to stop at once. */
  readonly stopSignal: 'INT' | 'TERM';
  /** Resolves when it answers, rejects when it does not yet. */
  ping(port: number): Promise<void>;
}

const START_TIMEOUT = 60_000;

const GUARD = `
folder=$1 stop=$2; shift 2
"$@" </dev/null >"$folder/server.log" 2>&1 &
server=$!
read -r _
kill -"$stop" "$server" 2>/dev/null
wait "$server"
rm -rf "$folder"
`;

/** Undefined when a binary is not installed; rejects with the server's log when it does not start. */
export async function startThrowaway(recipe: ThrowawayRecipe): Promise<ThrowawayServer | undefined> {
  const binaries = new Map(recipe.binaries.map((name) => [name, findBinary(name)]));
  if ([...binaries.values()].includes(undefined)) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'duckcoop-server-'));
  const user = unprivileged();
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  const options = { ...user, env: { ...process.env, TMPDIR: folder } };
  const port = await freePort();
  const commands = recipe.commands((name) => binaries.get(name) ?? name, folder, port);
  for (const [command = '', ...args] of commands.slice(0, -1)) {
    const { status, stderr, error } = spawnSync(command, args, { ...options, cwd: folder, encoding: 'utf8' });
    if (status === 0) continue;
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`${recipe.title}: ${command} failed: ${error?.message ?? stderr}`);
  }
  const guard = spawn(
    '/bin/sh',
    ['-c', GUARD, 'guard', folder, recipe.stopSignal, ...(commands.at(-1) ?? [])],
    {
      ...user,
      cwd: '/',
      stdio: ['pipe', 'ignore', 'ignore'],
      // Ctrl-C in a terminal goes to a whole process group; the guard has to outlive it to tidy up.
      detached: true,
    },
  );
  const gone = new Promise<void>((resolve) => guard.on('exit', () => resolve()));
  guard.unref();
  const stop = () => {
    guard.stdin.end();
    guard.ref();
    return gone;
  };
  const deadline = Date.now() + START_TIMEOUT;
  for (;;) {
    try {
      await recipe.ping(port);
      return { port, stop };
    } catch (error) {
      if (Date.now() < deadline) {
        await sleep(100);
        continue;
      }
      const log = readFileSync(join(folder, 'server.log'), 'utf8').slice(-2000);
      await stop();
      throw new Error(`${recipe.title} did not start within ${START_TIMEOUT / 1000} s:\n${log}`, {
        cause: error,
      });
    }
  }
}

/** Looks where distributions put servers, too: those folders are seldom in the PATH. */
function findBinary(name: string): string | undefined {
  const versions = '/usr/lib/postgresql';
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/sbin',
    '/usr/local/sbin',
    ...entries(versions)
      .sort((a, b) => Number(b) - Number(a))
      .map((version) => join(versions, version, 'bin')),
  ];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Both servers refuse to run as root. Undefined when this process is not root anyway. */
function unprivileged(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const name of ['postgres', 'mysql', 'nobody']) {
    const user = users.find(([login]) => login === name);
    if (user !== undefined) return { uid: Number(user[2]), gid: Number(user[3]) };
  }
  throw new Error('running as root, and there is no user postgres, mysql or nobody to run a test server as');
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
