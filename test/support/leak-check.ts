/**
 * What a server holds of its machine: processes, descriptors, timers and sockets, files, actors. An end-to-end test takes a
 * footprint before, and ends with {@link expectNothingLeaked}.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';

/** Counts by what is counted, so that a difference reads as what is too much. */
export type Footprint = Readonly<Record<string, number>>;

export interface Footing {
  /** The server's process; this one when it is not given. */
  readonly pid?: number;
  readonly dataDir: string;
  /** Where `/metrics` is, while the server runs: it knows how many actors there are. */
  readonly url?: string;
}

export async function footprint({ pid = process.pid, dataDir, url }: Footing): Promise<Footprint> {
  // First: its own connection must be gone when descriptors are counted.
  const actors = url === undefined ? {} : { actors: await liveActors(url) };
  return {
    ...actors,
    ...count('process', processesOf(pid, dataDir)),
    ...count('descriptor', descriptorsOf(pid)),
    ...(pid === process.pid ? count('resource', process.getActiveResourcesInfo().filter(isOurs)) : {}),
    ...count('file', filesIn(join(dataDir, 'run'))),
    ...count('result', filesIn(join(dataDir, 'results'))),
    ...count('session', filesIn(join(dataDir, 'sessions'))),
  };
}

/** Polls until nothing is more than it was before. What takes longer than `withinMs` to go is a leak. */
export async function expectNothingLeaked(
  before: Footprint,
  footing: Footing,
  withinMs = 8_000,
): Promise<void> {
  const end = performance.now() + withinMs;
  let more = surplus(before, await footprint(footing));
  while (Object.keys(more).length > 0 && performance.now() < end) {
    await sleep(20);
    more = surplus(before, await footprint(footing));
  }
  expect(more, 'left over').toEqual({});
}

function surplus(before: Footprint, now: Footprint): Record<string, string> {
  const more = Object.entries(now).filter(([what, number]) => number > (before[what] ?? 0));
  return Object.fromEntries(more.map(([what, number]) => [what, `${before[what] ?? 0} -> ${number}`]));
}

function count(kind: string, things: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const thing of things) {
    const what = `${kind} ${thing}`;
    counts[what] = (counts[what] ?? 0) + 1;
  }
  return counts;
}

/** Those that the server started, and any that works below its data folder, whoever its parent is by now. */
function processesOf(pid: number, dataDir: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const stat = attempt(() => readFileSync(`/proc/${name}/stat`, 'utf8'));
      if (stat === undefined) return [];
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      const folder = attempt(() => readlinkSync(`/proc/${name}/cwd`)) ?? '';
      if (parent !== pid && !folder.startsWith(join(dataDir, 'run'))) return [];
      return [parent === pid ? 'child' : 'orphan'];
    });
}

/** By what they lead to; the numbers of sockets and pipes mean nothing. */
function descriptorsOf(pid: number): string[] {
  return (attempt(() => readdirSync(`/proc/${pid}/fd`)) ?? []).flatMap((fd) => {
    const target = attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`));
    // The S3 server of a test is in the same process, and keeps what it was sent when a client went away.
    if (target?.includes('._S3rver_object')) return [];
    // What is read of a worker goes with it, and the next one has another number.
    return target === undefined ? [] : [target.replace(/\[\d+\]/, '').replace(/^\/proc\/\d+/, '/proc/n')];
  });
}

/** Work of libuv's pool comes and goes by itself: a file being read, a name being looked up. */
function isOurs(resource: string): boolean {
  return !resource.endsWith('ReqWrap') && !resource.endsWith('Request') && !resource.startsWith('FSReq');
}

function filesIn(folder: string): string[] {
  const entries = attempt(() => readdirSync(folder, { recursive: true, encoding: 'utf8' })) ?? [];
  // Incarnations follow each other: `interactive-1-7/spill` stands where `interactive-1-6/spill` was.
  return entries.map((entry) => entry.replace(/-\d+(?=\/|$)/g, '-n'));
}

async function liveActors(url: string): Promise<number> {
  const text = await new Promise<string>((resolve, reject) => {
    let body = '';
    const asked = request(`${url}/metrics`, { agent: false }, (response) => {
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
    });
    asked.on('error', reject).on('close', () => resolve(body));
    asked.end();
  });
  return Number(/^duckcoop_actors (\d+)$/m.exec(text)?.[1]);
}

function attempt<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    // It is gone, or not ours.
    return undefined;
  }
}
