/** A line on a terminal that says how far a query is; nothing anywhere else, and nothing for one that is done in a second. */
import type { WriteStream } from 'node:tty';
import { bytes, duration } from './amounts.ts';
import type { Server } from './client.ts';
import { followEvents } from './event-stream.ts';

/** Milliseconds after which the query is followed, and after which the line is there. */
const FOLLOWS_AFTER = 500;
const APPEARS_AFTER = 1_000;
const REDRAWN_EVERY = 250;
const ERASE_LINE = '\r\x1b[K';
const BAR = 20;

/** The last that the server has said of a query. */
export interface QueryNews {
  readonly type: string;
  readonly members: Readonly<Record<string, unknown>>;
}

/** Returns what ends it, which leaves the line empty. */
export function showProgress(terminal: WriteStream, server: Server, queryId: string): () => void {
  if (!terminal.isTTY) return () => {};
  const start = performance.now();
  let news: QueryNews | undefined;
  let shown = false;
  const following = new AbortController();
  const follow = setTimeout(() => {
    void readNews(server, queryId, following.signal, (latest) => {
      news = latest;
    });
  }, FOLLOWS_AFTER);
  const timer = setInterval(() => {
    const elapsed = performance.now() - start;
    if (elapsed < APPEARS_AFTER) return;
    shown = true;
    const line = progressLine(elapsed, news);
    terminal.write(`${ERASE_LINE}${line.slice(0, Math.max(1, (terminal.columns ?? 80) - 1))}`);
  }, REDRAWN_EVERY);
  return () => {
    clearTimeout(follow);
    clearInterval(timer);
    following.abort();
    if (shown) terminal.write(ERASE_LINE);
  };
}

/** `[========            ]  40%  12 s, 1.2 GB of memory; Ctrl-C cancels`. Pure. */
export function progressLine(elapsedMs: number, news: QueryNews | undefined): string {
  const time = duration(elapsedMs);
  const { type, members } = news ?? { type: 'running', members: {} };
  if (type === 'queued') return `waiting for ${time}, in place ${String(members.position)}; Ctrl-C cancels`;
  if (type === 'retrying') return `its worker died; it is tried again, after ${time}; Ctrl-C cancels`;
  const { percentage, bytes: written, memory_bytes: memory } = members;
  const said = [
    `running for ${time}`,
    ...(typeof written === 'number' && written > 0 ? [`${bytes(written)} written`] : []),
    ...(typeof memory === 'number' ? [`${bytes(memory)} of memory`] : []),
  ].join(', ');
  const bar = typeof percentage === 'number' && percentage > 0 ? `${barOf(percentage)} ` : '';
  return `${bar}${said}; Ctrl-C cancels`;
}

function barOf(percentage: number): string {
  const share = Math.min(100, percentage);
  const full = Math.floor((share / 100) * BAR);
  return `[${'='.repeat(full)}${' '.repeat(BAR - full)}] ${String(Math.floor(share)).padStart(3)}%`;
}

/** Until the query ends, or nobody wants to know. A server that says nothing about it costs the line its details and nothing else. */
async function readNews(
  server: Server,
  queryId: string,
  signal: AbortSignal,
  onNews: (news: QueryNews) => void,
): Promise<void> {
  try {
    const path = `v1/queries/${encodeURIComponent(queryId)}/events`;
    for await (const item of followEvents(server, signal, path)) {
      if (item.kind !== 'event') continue;
      if (['succeeded', 'failed', 'cancelled'].includes(item.type)) return;
      const members: unknown = JSON.parse(item.data);
      if (typeof members === 'object' && members !== null)
        onNews({ type: item.type, members: members as QueryNews['members'] });
    }
  } catch {
    // What is wrong with the query, or with the server, the reply tells.
  }
}
