/** The supervision tree, and what happens in it, as text. Pure. */
import type { SupervisionNode } from '../supervisors/supervisor-handle.ts';
import { duration } from './amounts.ts';
import { formatTable } from './table.ts';
import { visible } from './visible.ts';

const COLUMNS = [
  { name: 'child', type: 'VARCHAR' },
  { name: 'state', type: 'VARCHAR' },
  { name: 'incarnation', type: 'BIGINT' },
  { name: 'restarts', type: 'VARCHAR' },
  { name: 'backoff', type: 'VARCHAR' },
];

/** A line for each child, below that of its supervisor. With `width`, cut to so many cells. */
export function drawTree(root: SupervisionNode, width?: number): string {
  return formatTable(COLUMNS, rowsOf(root, '', ''), width);
}

/** `first` stands before the name, `rest` before what is below it. */
function rowsOf(node: SupervisionNode, first: string, rest: string): string[][] {
  const last = node.path.slice(node.path.lastIndexOf('/') + 1);
  const name = node.note === undefined ? last : `${last} (${node.note})`;
  const row = [`${first}${name}`, node.state, String(node.incarnation), restarts(node), backoff(node)];
  const below = node.children.flatMap((child, index) =>
    index < node.children.length - 1
      ? rowsOf(child, `${rest}├─ `, `${rest}│  `)
      : rowsOf(child, `${rest}└─ `, `${rest}   `),
  );
  return [row, ...below];
}

/** Of a supervisor: how many it has used of how many it may use. */
function restarts({ restarts, intensity, period_ms }: SupervisionNode): string {
  if (period_ms === null) return '';
  const allowed = intensity === null ? 'no limit' : `${intensity} in ${duration(period_ms)}`;
  return intensity === null ? `${restarts}, ${allowed}` : `${restarts} of ${allowed}`;
}

function backoff({ backoff }: SupervisionNode): string {
  if (backoff === null || (backoff.attempt === 0 && backoff.delay_ms === 0)) return '';
  const waits = backoff.delay_ms > 0 ? `waits ${duration(backoff.delay_ms)}, ` : '';
  return `${waits}attempt ${backoff.attempt}`;
}

/** An event as one line: when, what, and its members; `null` members are left out. */
export function eventLine(type: string, data: string): string {
  const members = membersOf(data);
  if (members === undefined) return visible(`- ${type} ${data}`);
  const { at, type: _, ...rest } = members;
  const told = Object.entries(rest)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  return visible([timeOf(at), type, ...told].join(' '));
}

function membersOf(data: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function timeOf(at: unknown): string {
  const date = new Date(typeof at === 'number' ? at : Number.NaN);
  return Number.isNaN(date.getTime()) ? '-' : date.toISOString();
}
