import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { TreeScreen } from '../../src/cli/tree-screen.ts';
import type { SupervisionNode } from '../../src/supervisors/supervisor-handle.ts';
import { until } from '../support/test-server.ts';

class Terminal extends EventEmitter {
  columns = 60;
  rows = 12;
  written = '';

  write(text: string): boolean {
    this.written += text;
    return true;
  }

  /** What stands on it since it was last drawn. */
  get shown(): string[] {
    const [drawn = ''] = this.written.split('\x1b[H').slice(-1);
    const [text = ''] = drawn.split('\x1b[J');
    return text.replaceAll('\x1b[K', '').split('\r\n');
  }
}

const NODE: SupervisionNode = {
  path: '/root',
  kind: 'supervisor',
  state: 'running',
  strategy: 'one_for_one',
  restart: null,
  incarnation: 1,
  restarts: 0,
  intensity: 5,
  period_ms: 10_000,
  backoff: null,
  children: [],
};

function screenOn(terminal: Terminal, read: () => Promise<SupervisionNode> = async () => NODE): TreeScreen {
  return new TreeScreen({ terminal: terminal as never, title: 'http://a/', read });
}

test('the tree and the latest events stand on the alternate screen, which is left in the end', async () => {
  const terminal = new Terminal();
  const screen = screenOn(terminal);
  screen.refresh();
  for (let n = 1; n <= 30; n += 1) screen.happened(`event ${n}`);
  await until('it is drawn', () => terminal.shown.at(-1) === 'event 30');
  expect(terminal.shown).toHaveLength(12);
  expect(terminal.shown[0]).toBe('http://a/  (Ctrl-C ends)');
  expect(terminal.shown[4]).toMatch(/^root {2,}│ running/);
  screen.close();
  screen.close();
  expect(terminal.written.startsWith('\x1b[?1049h\x1b[?25l')).toBe(true);
  expect(terminal.written.endsWith('\x1b[?25h\x1b[?1049l')).toBe(true);
  expect(terminal.listenerCount('resize')).toBe(0);
});

test('a storm of events is drawn a few times, the last of them surely', async () => {
  let reads = 0;
  const terminal = new Terminal();
  const screen = screenOn(terminal, async () => {
    reads += 1;
    return NODE;
  });
  for (let n = 1; n <= 1_000; n += 1) screen.happened(`event ${n}`);
  await until('the last is drawn', () => terminal.shown.at(-1) === 'event 1000');
  expect(reads).toBeLessThan(10);
  screen.close();
});

test('a lost connection, and a tree that cannot be read, are said while the last tree stands', async () => {
  const terminal = new Terminal();
  let fail = false;
  const screen = screenOn(terminal, async () => {
    if (fail) throw new Error('no\x1b[2Jthing');
    return NODE;
  });
  screen.refresh();
  await until('it is drawn', () => terminal.shown.length > 3);
  screen.lost('connection lost');
  expect(terminal.shown.at(-1)).toBe('connection lost');
  fail = true;
  screen.refresh();
  await until('it is said', () => terminal.shown.at(-1) === 'no\\x1b[2Jthing');
  expect(terminal.shown.join('\n')).toContain('running');
  screen.close();
});

test('a terminal that changes its size is drawn anew, whatever the size', async () => {
  const terminal = new Terminal();
  const screen = screenOn(terminal);
  screen.happened(`event ${'x'.repeat(100)}`);
  await until('it is drawn', () => terminal.shown.length > 3);
  for (const [columns, rows] of [
    [20, 4],
    [1, 1],
    [0, 0],
    [300, 50],
  ] as const) {
    Object.assign(terminal, { columns, rows });
    terminal.emit('resize');
    expect(terminal.shown.length).toBeLessThanOrEqual(rows || 24);
  }
  expect(terminal.shown.at(-1)).toBe(`event ${'x'.repeat(100)}`);
  screen.close();
});
