/** `duckcoop workers`, `queries`, `sessions` and `exports`: a list of the server's as a table, or as the JSON it came in. */
import { bytes, duration } from './amounts.ts';
import { ask, listIn, type ServerOptions } from './ask.ts';
import { serverFrom } from './client.ts';
import { type Column, formatTable } from './table.ts';
import { visibleJson } from './visible.ts';

export interface ListOptions extends ServerOptions {
  readonly format: 'table' | 'json';
}

export interface QueriesOptions extends ListOptions {
  readonly state?: string;
  readonly pool?: string;
  readonly limit?: number;
}

/** What came over the wire; any member may be of another type, or missing. */
type Item = Readonly<Record<string, unknown>>;

interface TableColumn extends Column {
  readonly cell: (item: Item) => unknown;
}

const WORKER_COLUMNS: readonly TableColumn[] = [
  text('worker', ({ id }) => id),
  text('pool', ({ pool }) => pool),
  text('state', ({ state }) => state),
  number('pid', ({ pid }) => pid),
  number('incarnation', ({ incarnation }) => incarnation),
  text('query', ({ query_id }) => query_id),
  number('memory', ({ rss_bytes }) => amount(rss_bytes, bytes)),
  number('uptime', ({ uptime_ms }) => amount(uptime_ms, duration)),
  number('queries', ({ queries }) => queries),
];

const QUERY_COLUMNS: readonly TableColumn[] = [
  text('query', ({ query_id }) => query_id),
  text('state', ({ state }) => state),
  text('error', ({ error }) => (error as Item | null | undefined)?.code),
  text('pool', ({ pool }) => pool),
  text('principal', ({ principal }) => principal),
  number('queued', ({ queue_ms }) => amount(queue_ms, duration)),
  number('ran', ({ run_ms }) => amount(run_ms, duration)),
  number('rows', ({ rows }) => rows),
  number('attempts', ({ attempts }) => attempts),
  text('result', ({ result }) => (isKept(result) ? amount(result.bytes, bytes) : undefined)),
  text('worker', ({ worker }) => worker),
];

const SESSION_COLUMNS: readonly TableColumn[] = [
  text('session', ({ session_id }) => session_id),
  text('name', ({ name }) => name),
  text('owner', ({ owner }) => owner),
  text('state', ({ state }) => state),
  text('sources', ({ sources }) => names(sources)),
  number('disk', ({ disk_used_bytes }) => amount(disk_used_bytes, bytes)),
  number('idle in', ({ idle_expires_at }) => amount(idle_expires_at, untilThen)),
  number('expires in', ({ expires_at }) => amount(expires_at, untilThen)),
  text('lost', ({ lost }) => names(lost)),
];

const EXPORT_COLUMNS: readonly TableColumn[] = [
  text('export', ({ export_id }) => export_id),
  text('state', ({ state }) => state),
  text('error', ({ error }) => (error as Item | null | undefined)?.code),
  text('principal', ({ principal }) => principal),
  text('format', ({ format }) => format),
  number('rows', ({ rows }) => rows),
  number('size', ({ bytes: size }) => amount(size, bytes)),
  number('files', ({ files }) => (Array.isArray(files) ? files.length : undefined)),
  number('expires in', ({ expires_at }) => amount(expires_at, untilThen)),
];

export async function workersCommand(options: ListOptions): Promise<void> {
  const server = serverFrom(options);
  const reply = await ask(server, 'GET', 'v1/workers');
  print(reply, listIn<Item>(server, reply, 'workers'), WORKER_COLUMNS, options.format);
}

export async function queriesCommand(options: QueriesOptions): Promise<void> {
  const server = serverFrom(options);
  const { state, pool, limit } = options;
  const filter = new URLSearchParams({
    ...(state !== undefined && { state }),
    ...(pool !== undefined && { pool }),
    ...(limit !== undefined && { limit: String(limit) }),
  });
  const reply = await ask(server, 'GET', `v1/queries${filter.size === 0 ? '' : `?${filter}`}`);
  print(reply, listIn<Item>(server, reply, 'queries'), QUERY_COLUMNS, options.format);
  if (typeof reply.next === 'string') process.stderr.write('there are more: --limit takes up to 1000\n');
}

/** Those of others too, for an operator. */
export async function sessionsCommand(options: ListOptions): Promise<void> {
  const server = serverFrom(options);
  const reply = await ask(server, 'GET', 'v1/sessions');
  print(reply, listIn<Item>(server, reply, 'sessions'), SESSION_COLUMNS, options.format);
}

/** Those of others too, for an operator. */
export async function exportsCommand(options: ListOptions): Promise<void> {
  const server = serverFrom(options);
  const reply = await ask(server, 'GET', 'v1/exports');
  print(reply, listIn<Item>(server, reply, 'exports'), EXPORT_COLUMNS, options.format);
}

/** Of one whose result can be fetched: what it takes of the server's disk. */
function isKept(result: unknown): result is Item {
  return typeof result === 'object' && result !== null;
}

function print(
  reply: Item,
  items: readonly Item[],
  columns: readonly TableColumn[],
  format: ListOptions['format'],
): void {
  if (format === 'json') {
    process.stdout.write(`${visibleJson(reply)}\n`);
    return;
  }
  const width = process.stdout.isTTY ? process.stdout.columns : undefined;
  const rows = items.map((item) => columns.map(({ cell }) => cell(item) ?? ''));
  process.stdout.write(`${formatTable(columns, rows, width)}\n`);
}

function text(name: string, cell: TableColumn['cell']): TableColumn {
  return { name, type: 'VARCHAR', cell };
}

function number(name: string, cell: TableColumn['cell']): TableColumn {
  return { name, type: 'BIGINT', cell };
}

function names(value: unknown): unknown {
  return Array.isArray(value) ? value.join(', ') : undefined;
}

/** From now; the clocks of two machines may differ. */
function untilThen(at: number): string {
  return duration(Math.max(0, at - Date.now()));
}

function amount(value: unknown, format: (value: number) => string): unknown {
  return typeof value === 'number' ? format(value) : value;
}
