import { describe, expect, test } from 'vitest';
import { drawTree, eventLine } from '../../src/cli/tree-drawing.ts';
import type { SupervisionNode } from '../../src/supervisors/supervisor-handle.ts';

const worker = (path: string, more: Partial<SupervisionNode> = {}): SupervisionNode => ({
  path,
  kind: 'worker',
  state: 'running',
  strategy: null,
  restart: 'permanent',
  incarnation: 1,
  restarts: 0,
  intensity: null,
  period_ms: null,
  backoff: null,
  children: [],
  ...more,
});

const supervisor = (path: string, children: SupervisionNode[], more: Partial<SupervisionNode> = {}) =>
  worker(path, {
    kind: 'supervisor',
    strategy: 'one_for_one',
    intensity: 5,
    period_ms: 10_000,
    children,
    ...more,
  });

const TREE = supervisor('/root', [
  supervisor(
    '/root/pools',
    [
      worker('/root/pools/a-1', {
        state: 'restarting',
        incarnation: 3,
        backoff: { attempt: 2, delay_ms: 400 },
      }),
      worker('/root/pools/a-2', { backoff: { attempt: 1, delay_ms: 0 } }),
    ],
    { intensity: null, restarts: 3, backoff: { attempt: 0, delay_ms: 0 } },
  ),
  worker('/root/http'),
]);

describe('a drawn tree', () => {
  test('has a line for each child, with its state, incarnation, restarts and backoff', () => {
    expect(drawTree(TREE).split('\n')).toEqual([
      'child     │ state      │ incarnation │ restarts       │ backoff',
      '──────────┼────────────┼─────────────┼────────────────┼────────────────────────',
      'root      │ running    │           1 │ 0 of 5 in 10 s │',
      '├─ pools  │ running    │           1 │ 3, no limit    │',
      '│  ├─ a-1 │ restarting │           3 │                │ waits 400 ms, attempt 2',
      '│  └─ a-2 │ running    │           1 │                │ attempt 1',
      '└─ http   │ running    │           1 │                │',
    ]);
  });

  test('fits the terminal', () => {
    for (const line of drawTree(TREE, 50).split('\n')) expect(line.length).toBeLessThanOrEqual(50);
  });

  test('never lets a name move the cursor', () => {
    expect(drawTree(worker('/root/\u001b[2Jx\u202e'))).toContain('\\x1b[2Jx\\u202e');
  });
});

describe('the line of an event', () => {
  const at = Date.UTC(2026, 0, 2, 3, 4, 5, 6);

  test('says when, what, and the members that have a value', () => {
    const data = JSON.stringify({ type: 'worker.exited', at, worker: 'a-1', signal: null, uptime_ms: 12 });
    expect(eventLine('worker.exited', data)).toBe(
      '2026-01-02T03:04:05.006Z worker.exited worker=a-1 uptime_ms=12',
    );
  });

  test.each([
    ['{"at":"\\u001b[2J","x":{"y":1}}', '- t x={"y":1}'],
    ['{"at":1e300,"x":"\\u001b[2J\\n"}', '- t x=\\x1b[2J\\n'],
    ['no JSON \u001b[2J', '- t no JSON \\x1b[2J'],
    ['null', '- t null'],
    ['[1]', '- t 0=1'],
  ])('of %j steers no terminal', (data, line) => {
    expect(eventLine('t', data)).toBe(line);
  });
});
