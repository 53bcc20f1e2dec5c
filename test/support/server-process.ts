/** `duckcoop serve` in a process of its own, which can be killed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { stringify } from 'yaml';
import { temporaryFolder } from './temp.ts';
import { call, quickPool, type Reply } from './test-server.ts';

const BIN = fileURLToPath(new URL('../../bin/duckcoop.js', import.meta.url));

export interface ServerProcess {
  readonly pid: number;
  query(sql: string): Promise<Reply>;
  /** SIGTERM; resolves when the process is gone. */
  stop(): Promise<void>;
  /** SIGKILL: it cleans nothing up. */
  kill(): Promise<void>;
  /** Processes in its run folder, its own children or nobody's. */
  orphans(): string[];
}

/** Resolves when it is ready. Killed, if it still runs, when the test ends. */
export async function serverProcess(dataDir: string): Promise<ServerProcess> {
  const file = join(await temporaryFolder(), 'duckcoop.yaml');
  await writeFile(
    file,
    stringify({
      server: { port: 0 },
      data_dir: dataDir,
      sessions: { spare: 0 },
      pools: { interactive: quickPool() },
    }),
  );
  const child = spawn(process.execPath, [BIN, 'serve', '--config', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await exited;
  };
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) await end('SIGKILL');
  });
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const { msg, url } = JSON.parse(line) as { msg?: string; url?: string };
      if (msg === 'listening' && url !== undefined) resolve(url);
    });
    void exited.then(() => reject(new Error('the server ended before it was ready')));
  });
  const pid = child.pid as number;
  return {
    pid,
    query: (sql) => call(url, 'POST', '/v1/query', { sql }),
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    orphans: () =>
      readdirSync('/proc').filter((name) => {
        try {
          return readlinkSync(`/proc/${name}/cwd`).startsWith(join(dataDir, 'run', `${pid}-`));
        } catch {
          return false;
        }
      }),
  };
}
