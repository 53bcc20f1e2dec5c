/** What a server holds, as it says itself: before a run, and after it. */
import { ask, listIn } from '../ask.ts';
import { readText, type Server, send } from '../client.ts';

export interface WorkerView {
  readonly id: string;
  readonly pid: number | null;
  readonly state: string;
  readonly incarnation: number;
}

export interface Footprint {
  readonly workers: readonly WorkerView[];
  /** Queries of this run that have not ended. */
  readonly unfinished: number;
  /** Undefined where the platform does not tell. */
  readonly openFds: number | undefined;
  readonly actors: number | undefined;
  readonly runFolders: number | undefined;
  readonly deadLetters: number | undefined;
  readonly residentBytes: number | undefined;
}

/** `run` is what each `query_id` of this run begins with. Rejects where the server does not answer. */
export async function footprintOf(server: Server, run: string, signal?: AbortSignal): Promise<Footprint> {
  const unfinished = await unfinishedOf(server, run, signal);
  const workers = listIn<WorkerView>(server, await ask(server, 'GET', 'v1/workers', { signal }), 'workers');
  const metrics = await readText(
    await send(server, 'GET', 'metrics', signal === undefined ? {} : { signal }),
  );
  const value = (name: string): number | undefined => {
    const line = new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics);
    return line === null ? undefined : Number(line[1]);
  };
  return {
    workers,
    unfinished,
    openFds: value('process_open_fds'),
    actors: value('duckcoop_actors'),
    runFolders: value('duckcoop_run_folders'),
    deadLetters: value('duckcoop_dead_letters'),
    residentBytes: value('process_resident_memory_bytes'),
  };
}

async function unfinishedOf(server: Server, run: string, signal?: AbortSignal): Promise<number> {
  const lists = ['queued', 'running'].map(async (state) => {
    const reply = await ask(server, 'GET', `v1/queries?state=${state}&limit=1000`, { signal });
    return listIn<{ readonly query_id: string }>(server, reply, 'queries');
  });
  return (await Promise.all(lists)).flat().filter(({ query_id }) => query_id.startsWith(`${run}-`)).length;
}

/** Nothing runs, and there are as many workers as there were, all of them with nothing to do. */
export function isQuiet(now: Footprint, before: Footprint): boolean {
  const isRested = ({ state }: WorkerView) => ['idle', 'reserve', 'spare'].includes(state);
  return now.unfinished === 0 && now.workers.length >= before.workers.length && now.workers.every(isRested);
}

/** What is more, or less, than it was before: one line each. */
export function leaksBetween(before: Footprint, after: Footprint): string[] {
  const leaks: string[] = [];
  if (after.unfinished > 0) leaks.push(`${after.unfinished} queries have not ended`);
  if (!isQuiet({ ...after, unfinished: 0 }, before) || after.workers.length !== before.workers.length)
    leaks.push(`the workers were ${statesOf(before)}, and are ${statesOf(after)}`);
  const more = (what: string, was: number | undefined, is: number | undefined) => {
    if (was !== undefined && is !== undefined && is > was) leaks.push(`${what}: ${was} before, ${is} after`);
  };
  more('open descriptors', before.openFds, after.openFds);
  more('actors', before.actors, after.actors);
  more('run folders', before.runFolders, after.runFolders);
  return leaks;
}

function statesOf({ workers }: Footprint): string {
  return workers.map(({ id, state }) => `${id} ${state}`).join(', ') || 'none';
}
