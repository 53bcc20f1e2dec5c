// A PostgreSQL of the benchmark's own, that may be stopped, frozen and started again. Asks for passwords (scram-sha-256).
import { spawn, spawnSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

const PASSWORD = 'of the benchmark';

export async function ownPostgres() {
  const folder = mkdtempSync(join(tmpdir(), 'duckcoop-postgres-'));
  const data = join(folder, 'data');
  const user = unprivileged();
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  const options = { ...user, cwd: folder, stdio: 'ignore' };
  const secret = join(folder, 'password');
  writeFileSync(secret, PASSWORD);
  if (user !== undefined) chownSync(secret, user.uid, user.gid);
  const init = ['-D', data, '-U', 'root', '-A', 'scram-sha-256', `--pwfile=${secret}`, '--no-sync'];
  const { status } = spawnSync(binary('initdb'), init, options);
  if (status !== 0) throw new Error('initdb failed');
  const port = await freePort();
  const address = { host: '127.0.0.1', port, user: 'root', password: PASSWORD, database: 'postgres' };
  let server;
  const processes = () => {
    const children = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8').split(' ');
    return [server.pid, ...children.filter((pid) => pid !== '').map(Number)];
  };
  const signalAll = (signal) => {
    for (const pid of processes()) {
      try {
        process.kill(pid, signal);
      } catch {
        // It has ended meanwhile.
      }
    }
  };
  const query = async (sql) => {
    const client = new pg.Client(address);
    client.on('error', () => undefined);
    try {
      await client.connect();
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  };
  const start = async () => {
    const args = ['-D', data, '-h', '127.0.0.1', '-p', String(port), '-k', folder, '-F'];
    server = spawn(binary('postgres'), args, options);
    for (let attempt = 0; attempt < 200; attempt += 1) {
      try {
        await query('SELECT 1');
        return;
      } catch {
        await sleep(50);
      }
    }
    throw new Error('PostgreSQL did not start');
  };
  /** As `pg_ctl stop -m fast`: connections are ended first. */
  const stop = async () => {
    const exited = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGINT');
    await exited;
  };
  await start();
  return {
    ...address,
    query,
    start,
    stop,
    /** Connections are taken by the kernel, and nobody answers. */
    freeze: () => signalAll('SIGSTOP'),
    thaw: () => signalAll('SIGCONT'),
    remove: async () => {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function binary(name) {
  const versions = '/usr/lib/postgresql';
  const installed = existsSync(versions) ? readdirSync(versions).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...(process.env.PATH ?? '').split(delimiter),
    ...installed.map((version) => join(versions, version, 'bin')),
  ];
  const folder = folders.find((one) => existsSync(join(one, name)));
  if (folder === undefined) throw new Error(`${name} is not installed`);
  return join(folder, name);
}

/** PostgreSQL does not run as root. */
function unprivileged() {
  if (process.getuid() !== 0) return undefined;
  const users = readFileSync('/etc/passwd', 'utf8').split('\n');
  const [, , uid, gid] = (users.find((line) => line.startsWith('postgres:')) ?? '').split(':').map(Number);
  if (!uid) throw new Error('there is no user postgres to run a server as');
  return { uid, gid };
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
