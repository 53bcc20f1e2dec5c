/** A problem document as lines for people. Pure. */
import type { Problem } from './client.ts';
import { visible } from './visible.ts';

/** First the detail; below it, indented, what belongs to the code. */
export function formatProblem(problem: Problem, retryAfter?: string): string {
  const lines = [problem.detail, ...membersOf(problem)];
  if (problem.retryable === true) {
    lines.push(`  may be tried again${retryAfter === undefined ? '' : ` in ${retryAfter} s`}`);
  }
  return lines.map((line) => line.split('\n').map(visible).join('\n  ')).join('\n');
}

function membersOf(problem: Problem): string[] {
  const lines: string[] = [];
  for (const error of listOf(problem.errors)) {
    const path = textOf(error.path);
    lines.push(`  ${path === undefined || path === '' ? '' : `${path}: `}${textOf(error.message) ?? ''}`);
  }
  const worker = recordOf(problem.worker);
  if (worker !== undefined) lines.push(`  ${workerLine(worker)}`);
  const suggestion = textOf(problem.did_you_mean);
  if (suggestion !== undefined) lines.push(`  did you mean ${suggestion}?`);
  for (const name of ['crash_id', 'crash_ids', 'attempts', 'source', 'limit', 'limit_ms', 'used', 'until']) {
    const text = name === 'until' ? timeText(problem.until) : textOf(problem[name]);
    if (text !== undefined) lines.push(`  ${name.replaceAll('_', ' ')}: ${text}`);
  }
  return lines;
}

function workerLine(worker: Readonly<Record<string, unknown>>): string {
  const { id, pid, incarnation, signal, exit_code, phase } = worker;
  const how =
    textOf(signal) ?? (exit_code === null || exit_code === undefined ? 'unknown' : `exit code ${exit_code}`);
  const about = [
    pid === undefined ? undefined : `pid ${pid}`,
    incarnation === undefined ? undefined : `incarnation ${incarnation}`,
  ].filter((part) => part !== undefined);
  const where = about.length === 0 ? '' : ` (${about.join(', ')})`;
  const when = textOf(phase) === undefined ? '' : `, phase ${textOf(phase)}`;
  return `worker ${textOf(id) ?? 'unknown'}${where}: ${how}${when}`;
}

function textOf(value: unknown): string | undefined {
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map(String).join(', ');
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}

/** Milliseconds since the epoch, for people. */
function timeText(value: unknown): string | undefined {
  const time = typeof value === 'number' ? new Date(value) : undefined;
  return time === undefined || Number.isNaN(time.getTime()) ? textOf(value) : time.toISOString();
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
}

function listOf(value: unknown): Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.map(recordOf).filter((item) => item !== undefined) : [];
}
