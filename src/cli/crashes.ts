/**
 * `duckcoop crashes`: the workers that died, as a list, or one of them with all that is known of it.
 */
import type { CrashReport, CrashSummary } from '../crashes/crash-report.ts';
import { ProblemError, readText, send, serverFrom } from './client.ts';
import { CliError, EXIT } from './exit.ts';
import { formatProblem } from './problem.ts';
import { type Column, formatTable } from './table.ts';
import { visible } from './visible.ts';

export interface CrashesOptions {
  readonly url?: string;
  readonly keyFile?: string;
  /** Crashes at most, the newest ones. */
  readonly limit?: number;
  readonly format: 'table' | 'json';
}

/** Without an id: the list, newest first. Rejects with {@link CliError} for everything that goes wrong. */
export async function crashesCommand(id: string | undefined, options: CrashesOptions): Promise<void> {
  const forPeople = options.format === 'table';
  if (id === undefined) {
    const limit = options.limit === undefined ? '' : `?limit=${options.limit}`;
    const reply = await getJson<CrashList>(`v1/crashes${limit}`, options);
    print(forPeople ? formatCrashes(reply.crashes, process.stdout.columns) : JSON.stringify(reply, null, 2));
    if (forPeople && reply.next !== null) process.stderr.write('There are more: --limit takes up to 1000\n');
    return;
  }
  if (options.limit !== undefined)
    throw new CliError(EXIT.usage, '--limit is for the list, not for one crash');
  const report = await getJson<CrashReport>(`v1/crashes/${encodeURIComponent(id)}`, options);
  print(forPeople ? formatCrash(report) : JSON.stringify(report, null, 2));
}

interface CrashList {
  readonly crashes: readonly CrashSummary[];
  readonly next: string | null;
}

async function getJson<Value>(path: string, options: CrashesOptions): Promise<Value> {
  try {
    return JSON.parse(await readText(await send(serverFrom(options), 'GET', path))) as Value;
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new CliError(EXIT.failed, `the reply is no JSON: ${error.message}`, { cause: error });
    }
    if (!(error instanceof ProblemError)) throw error;
    const { problem, retryAfter } = error;
    throw new CliError(EXIT.failed, formatProblem(problem, retryAfter), { code: problem.code, cause: error });
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

const COLUMNS: readonly Column[] = [
  ...['crash_id', 'at', 'worker', 'how', 'phase', 'principal', 'query_id', 'fingerprint'].map((name) => ({
    name,
    type: 'VARCHAR',
  })),
];

/** Cut to `width` on a terminal. */
export function formatCrashes(crashes: readonly CrashSummary[], width?: number): string {
  if (crashes.length === 0) return 'No worker has died.';
  const rows = crashes.map((crash) => [
    ...[crash.crash_id, timeOf(crash.at), crash.worker, howOf(crash), crash.phase],
    ...[crash.principal ?? '', crash.query_id ?? '', crash.fingerprint ?? ''],
  ]);
  return formatTable(COLUMNS, rows, width);
}

/** One line a fact; what is not known is left out. */
export function formatCrash(report: CrashReport): string {
  const { limits, versions } = report;
  const facts: readonly (readonly [string, string | number | null])[] = [
    ['crash', report.crash_id],
    ['at', timeOf(report.at)],
    [
      'worker',
      `${report.worker} (pool ${report.pool}, incarnation ${report.incarnation}, pid ${report.pid ?? '?'})`,
    ],
    ['died of', howOf(report)],
    ['killed for', report.killed_for],
    ['detail', report.detail],
    ['phase', report.phase],
    ['lived', `${report.uptime_ms} ms`],
    ['memory', memoryOf(report)],
    ['query', report.query_id],
    ['attempts', report.attempts],
    ['principal', report.principal],
    ['session', report.session_id],
    ['sources', report.sources.length === 0 ? null : report.sources.join(', ')],
    ['fingerprint', report.fingerprint],
    ['statement', report.statement],
    ['sql', report.sql],
    ['parameters', report.parameter_types === null ? null : JSON.stringify(report.parameter_types)],
    [
      'limits',
      Object.entries(limits)
        .flatMap(([name, value]) => (value === null ? [] : `${name} ${value}`))
        .join(', '),
    ],
    [
      'versions',
      Object.entries(versions)
        .flatMap(([name, value]) => (value === null ? [] : `${name} ${value}`))
        .join(', '),
    ],
  ];
  const known = facts.filter(([, value]) => value !== null && value !== '');
  const width = Math.max(...known.map(([name]) => name.length));
  const lines = known.map(([name, value]) => `${name.padEnd(width)}  ${visible(String(value))}`);
  if (report.last_lines.length > 0)
    lines.push('last lines', ...report.last_lines.map((line) => `  ${visible(line)}`));
  return lines.join('\n');
}

function timeOf(at: number): string {
  const time = new Date(at);
  return Number.isNaN(time.getTime()) ? String(at) : time.toISOString();
}

function howOf({ cause, signal, exit_code }: CrashSummary): string {
  const how = signal ?? (exit_code === null ? undefined : `exit code ${exit_code}`);
  return how === undefined ? cause : `${cause} (${how})`;
}

function memoryOf({ memory_bytes, peak_memory_bytes }: CrashReport): string | null {
  if (memory_bytes === null && peak_memory_bytes === null) return null;
  return `${memory_bytes ?? '?'} bytes, ${peak_memory_bytes ?? '?'} at most`;
}
