/** `duckcoop tree`: the supervision tree, once, or again and again as it changes. Ctrl-C is the orderly end of that. */
import type { SupervisionNode } from '../supervisors/supervisor-handle.ts';
import { ask, notDuckcoop, type ServerOptions } from './ask.ts';
import { type Server, serverFrom } from './client.ts';
import { followEvents } from './event-stream.ts';
import { interrupt } from './interrupt.ts';
import { drawTree, eventLine } from './tree-drawing.ts';
import { TreeScreen } from './tree-screen.ts';
import { visible, visibleJson } from './visible.ts';

export interface TreeOptions extends ServerOptions {
  readonly watch?: boolean;
  readonly format: 'text' | 'json';
}

export async function treeCommand(options: TreeOptions): Promise<void> {
  const server = serverFrom(options);
  if (options.watch === true) await watch(server, options.format);
  else await show(server, options.format);
}

async function show(server: Server, format: TreeOptions['format']): Promise<void> {
  const tree = await readTree(server);
  const width = process.stdout.isTTY ? process.stdout.columns : undefined;
  process.stdout.write(`${format === 'json' ? visibleJson(tree) : drawTree(tree, width)}\n`);
}

async function watch(server: Server, format: TreeOptions['format']): Promise<void> {
  const interrupted = interrupt();
  // Nobody reads any more, as with `head`.
  const closed = new AbortController();
  process.stdout.once('error', () => closed.abort());
  const signal = AbortSignal.any([interrupted.signal, closed.signal]);
  try {
    if (process.stdout.isTTY && format === 'text') await drawEvents(server, signal);
    else await printEvents(server, format, signal);
  } finally {
    interrupted.release();
  }
}

/** A line for each event; what becomes of the connection goes to standard error. */
async function printEvents(
  server: Server,
  format: TreeOptions['format'],
  signal: AbortSignal,
): Promise<void> {
  for await (const news of followEvents(server, signal)) {
    if (news.kind === 'lost') process.stderr.write(`${lostLine(news)}\n`);
    if (news.kind === 'connected') process.stderr.write('connected\n');
    if (news.kind !== 'event' || news.type === 'hello') continue;
    const line = format === 'json' ? jsonLine(news.data) : eventLine(news.type, news.data);
    if (!process.stdout.write(`${line}\n`)) await drained(signal);
  }
}

async function drawEvents(server: Server, signal: AbortSignal): Promise<void> {
  const screen = new TreeScreen({
    terminal: process.stdout,
    title: server.url.href,
    read: () => readTree(server, signal),
  });
  try {
    for await (const news of followEvents(server, signal)) {
      if (news.kind === 'lost') screen.lost(lostLine(news));
      else if (news.kind === 'event' && news.type !== 'hello')
        screen.happened(eventLine(news.type, news.data));
      else screen.refresh();
    }
  } finally {
    screen.close();
  }
}

async function readTree(server: Server, signal?: AbortSignal): Promise<SupervisionNode> {
  const tree: unknown = await ask(server, 'GET', 'v1/supervision', { signal });
  if (!isNode(tree)) throw notDuckcoop(server);
  return tree;
}

/** As far as it is drawn. */
function isNode(value: unknown): value is SupervisionNode {
  if (typeof value !== 'object' || value === null) return false;
  const { path, state, backoff, children } = value as Readonly<Record<string, unknown>>;
  const isDrawable = typeof path === 'string' && typeof state === 'string' && typeof backoff === 'object';
  return isDrawable && Array.isArray(children) && children.every(isNode);
}

function lostLine({ why, retryMs }: { readonly why: string; readonly retryMs: number }): string {
  return visible(`connection lost (${why}); next attempt in ${retryMs / 1_000} s`);
}

function jsonLine(data: string): string {
  try {
    return visibleJson(JSON.parse(data));
  } catch {
    return visibleJson(data);
  }
}

function drained(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      process.stdout.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    process.stdout.once('drain', done);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
