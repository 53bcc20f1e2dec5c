/** What a run of chaos ends with, for people and for programs. Pure. */
import { bytes, duration } from '../amounts.ts';
import type { Server } from '../client.ts';
import { visible } from '../visible.ts';
import type { Footprint } from './footprint.ts';
import type { Recoveries } from './recovery.ts';
import type { Tally, Violation } from './tally.ts';

/** Times in milliseconds. */
export interface Report {
  readonly server: string;
  readonly pool: string;
  readonly duration_ms: number;
  readonly interrupted: boolean;
  readonly requests: number;
  /** How they ended: `succeeded`, a code, `hung up` (the client did), `no reply`. */
  readonly outcomes: Counts;
  readonly faults: Counts;
  /** By the code that an order of chaos was refused with. */
  readonly faults_refused: Counts;
  readonly deaths: Counts;
  /** Events of deaths that could not be had; 0 unless the stream was cut for long. */
  readonly lost_events: number;
  readonly recovery_ms: Recoveries;
  readonly healthz: { readonly requests: number; readonly slowest_ms: number };
  /** Not judged. */
  readonly resident_bytes: { readonly before: number | null; readonly after: number | null };
  readonly dead_letters: { readonly before: number | null; readonly after: number | null };
  /** Whether the processes and folders of the server could be looked at. */
  readonly processes_checked: boolean;
  readonly violation_count: number;
  /** The first of them. */
  readonly violations: readonly Violation[];
  readonly leaks: readonly string[];
}

type Counts = Readonly<Record<string, number>>;

export interface Observations {
  readonly server: Server;
  readonly pool: string;
  readonly elapsedMs: number;
  readonly interrupted: boolean;
  readonly tally: Tally;
  readonly health: { readonly checks: number; readonly slowestMs: number };
  readonly before: Footprint;
  readonly after: Footprint | undefined;
  readonly leaks: readonly string[];
  readonly processesSeen: boolean;
}

export function reportOf(seen: Observations): Report {
  const { tally, health, before, after } = seen;
  const { p50, p99, max, recovered, open } = tally.recovery.summary();
  return {
    server: seen.server.url.href,
    pool: seen.pool,
    duration_ms: Math.round(seen.elapsedMs),
    interrupted: seen.interrupted,
    requests: tally.requests,
    outcomes: countsOf(tally.outcomes),
    faults: countsOf(tally.injected),
    faults_refused: countsOf(tally.notInjected),
    deaths: countsOf(tally.deaths),
    lost_events: tally.lostEvents,
    recovery_ms: { recovered, open, p50: Math.round(p50), p99: Math.round(p99), max: Math.round(max) },
    healthz: { requests: health.checks, slowest_ms: Math.round(health.slowestMs) },
    resident_bytes: { before: before.residentBytes ?? null, after: after?.residentBytes ?? null },
    dead_letters: { before: before.deadLetters ?? null, after: after?.deadLetters ?? null },
    processes_checked: seen.processesSeen,
    violation_count: tally.violationCount,
    violations: tally.violations,
    leaks: seen.leaks,
  };
}

/** Nothing broke the contract, and nothing is left over. */
export function isClean({ violation_count, leaks }: Report): boolean {
  return violation_count === 0 && leaks.length === 0;
}

export function formatReport(report: Report): string {
  const { recovery_ms: recovery, healthz, resident_bytes: memory, dead_letters: letters } = report;
  const ended = report.interrupted ? ', interrupted' : '';
  const perSecond = Math.round(report.requests / Math.max(0.001, report.duration_ms / 1_000));
  const open = recovery.open === 0 ? '' : `; ${recovery.open} without one`;
  const unseen = report.processes_checked ? '' : ' (its processes cannot be seen from here)';
  const lines = [
    ['server', `${report.server}, pool ${report.pool}, ${duration(report.duration_ms)}${ended}`],
    ['requests', `${report.requests}, ${perSecond} a second`],
    ...counted('', report.outcomes),
    ['faults', String(total(report.faults))],
    ...counted('', report.faults),
    ...counted('refused: ', report.faults_refused),
    ['deaths', `${total(report.deaths)}${report.lost_events === 0 ? '' : ', and some unseen'}`],
    ...counted('', report.deaths),
    [
      'recovery',
      `p50 ${duration(recovery.p50)}, p99 ${duration(recovery.p99)}, max ${duration(recovery.max)}, ` +
        `from a death to the next success${open}`,
    ],
    ['/healthz', `${healthz.requests} times, the slowest ${duration(healthz.slowest_ms)}`],
    ['memory', `${amount(memory.before)} before, ${amount(memory.after)} after`],
    ['dead letters', `${letters.before ?? '?'} before, ${letters.after ?? '?'} after`],
    ['violations', String(report.violation_count)],
    ['leaks', `${report.leaks.length}${unseen}`],
  ] as const;
  const width = Math.max(...lines.map(([name]) => name.length));
  return [
    ...lines.map(([name, value]) => visible(`${name.padEnd(width)}  ${value}`)),
    ...report.leaks.map((leak) => visible(`leak: ${leak}`)),
    ...report.violations.flatMap(({ what, request, reply }) => [
      visible(`violation: ${what}`),
      visible(`  request: ${request}`),
      visible(`  reply: ${reply}`),
    ]),
  ].join('\n');
}

/** The most frequent first. */
function countsOf(counts: ReadonlyMap<string, number>): Counts {
  return Object.fromEntries([...counts].toSorted(([, one], [, other]) => other - one));
}

function counted(prefix: string, counts: Counts): [string, string][] {
  return Object.entries(counts).map(([what, count]) => ['', `${prefix}${what} ${count}`]);
}

function total(counts: Counts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

function amount(value: number | null): string {
  return value === null ? '?' : bytes(value);
}
