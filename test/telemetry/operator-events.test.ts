import { describe, expect, test } from 'vitest';
import type { ExitReason } from '../../src/supervisors/exit-reason.ts';
import type { SupervisorEventDetail } from '../../src/supervisors/supervisor-event.ts';
import { EventLog } from '../../src/telemetry/event-log.ts';
import { Events } from '../../src/telemetry/events.ts';
import { OPERATOR_EVENT_TYPES } from '../../src/telemetry/operator-events.ts';
import { WorkerExitError } from '../../src/workers/worker-exit.ts';

const SECRET = "SELECT 'hunter2'";
const CHILD = { supervisor: '/root/pools', path: '/root/pools/pool:a', id: 'pool:a', incarnation: 2 };
const EXIT = {
  pid: 7,
  signal: 'SIGSEGV',
  exitCode: undefined,
  stopped: false,
  exceeded: undefined,
  memoryBytes: undefined,
  peakMemoryBytes: undefined,
  killedFor: undefined,
  detail: SECRET,
  lastLines: [SECRET],
  flight: { seq: 1, phase: 'running', wrote: false },
} as const;

/** What operators are told while `happen` happens. */
function told(happen: (events: Events) => void): Record<string, unknown>[] {
  const events = new Events();
  const log = new EventLog({ events, run: 'r', now: () => 1_700_000_000_000 });
  happen(events);
  return (log.read(0, 100) ?? []).map(({ json }) => JSON.parse(json) as Record<string, unknown>);
}

const supervisorEvent = (detail: SupervisorEventDetail) =>
  told((events) => events.emit('supervisor', { ...CHILD, ...detail }));

const AT = { at: 1_700_000_000_000 };
const OF_CHILD = { ...AT, supervisor: '/root/pools', path: '/root/pools/pool:a', incarnation: 2 };

test('a worker that died is told with cause, signal, phase, query and crash, and without a word it wrote', () => {
  const events = told((events) =>
    events.emit('worker.exited', {
      pool: 'a',
      worker: 'a-1',
      incarnation: 3,
      pid: 7,
      cause: 'crash',
      signal: 'SIGSEGV',
      exitCode: undefined,
      phase: 'running',
      queryId: 'q1',
      crashId: 'c1',
      uptimeMs: 12.6,
      memoryBytes: undefined,
      peakMemoryBytes: undefined,
      detail: SECRET,
      lastLines: [SECRET],
    }),
  );
  expect(events).toEqual([
    {
      type: 'worker.exited',
      ...AT,
      pool: 'a',
      worker: 'a-1',
      incarnation: 3,
      pid: 7,
      cause: 'crash',
      signal: 'SIGSEGV',
      exit_code: null,
      phase: 'running',
      query_id: 'q1',
      crash_id: 'c1',
      uptime_ms: 13,
    },
  ]);
});

test('queries and faults are not for operators, who would drown in the one and read SQL in the other', () => {
  const events = told((events) => {
    events.emit('query.started', { queryId: 'q', pool: 'a', principal: 'p', sources: [], tags: {} });
    events.emit('fault', { where: `GET /v1/query?sql=${SECRET}`, error: new Error(SECRET) });
  });
  expect(events).toEqual([]);
});

describe('of a supervisor', () => {
  test.each<[SupervisorEventDetail, Record<string, unknown>]>([
    [{ type: 'child_started' }, { type: 'supervisor.child_started' }],
    [
      { type: 'child_start_failed', reason: new TypeError(SECRET) },
      { type: 'supervisor.child_start_failed', error: 'TypeError' },
    ],
    [
      { type: 'restart_scheduled', delayMs: 99.7, attempt: 2 },
      { type: 'supervisor.restart_scheduled', delay_ms: 100, attempt: 2 },
    ],
    [
      { type: 'intensity', used: 2, allowed: 5 },
      { type: 'supervisor.intensity', used: 2, allowed: 5 },
    ],
    [
      { type: 'intensity', used: 2, allowed: Number.POSITIVE_INFINITY },
      { type: 'supervisor.intensity', used: 2, allowed: null },
    ],
    [
      { type: 'supervisor_gave_up', used: 6, allowed: 5 },
      { type: 'supervisor.gave_up', used: 6, allowed: 5 },
    ],
    [
      { type: 'child_stopped', reason: { kind: 'shutdown' }, killed: true },
      { type: 'supervisor.child_stopped', reason: 'shutdown', killed: true },
    ],
  ])('%j is told', (detail, expected) => {
    expect(supervisorEvent(detail)).toEqual([{ ...OF_CHILD, ...expected }]);
  });

  test.each<[string, ExitReason, Record<string, unknown>]>([
    ['a worker that died', { kind: 'error', error: new WorkerExitError('crash', EXIT) }, { cause: 'crash' }],
    ['a defect', { kind: 'error', error: new RangeError(SECRET) }, { error: 'RangeError' }],
    ['a thrown text', { kind: 'error', error: SECRET }, { error: 'string' }],
    ['an orderly end', { kind: 'shutdown', detail: SECRET }, {}],
  ])('the exit of %s is told by its kind alone', (_, reason, members) => {
    const event = { ...OF_CHILD, type: 'supervisor.child_exited', reason: reason.kind, ...members };
    expect(supervisorEvent({ type: 'child_exited', reason })).toEqual([event]);
  });
});

test('each event has one name, and the names are known', () => {
  expect(new Set(OPERATOR_EVENT_TYPES).size).toBe(OPERATOR_EVENT_TYPES.length);
  expect(OPERATOR_EVENT_TYPES).toContain('supervisor.gave_up');
  expect(OPERATOR_EVENT_TYPES).toContain('worker.exited');
  expect(OPERATOR_EVENT_TYPES).not.toContain('fault');
});
