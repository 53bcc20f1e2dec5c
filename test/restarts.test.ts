/** Restarts by hand of children that do not do what they should. */
import { expect, test } from 'vitest';
import { WorkerRoster } from '../src/actors/worker-roster.ts';
import { Restarts } from '../src/restarts.ts';
import { Events } from '../src/telemetry/events.ts';
import { ScriptedChild } from './supervisors/scripted-child.ts';
import { supervise } from './supervisors/supervisor-harness.ts';
import { until } from './support/actor-harness.ts';

/** A root with one child `a`, whose starts from the second on are as `startAgain` says. */
async function setting(startAgain: (n: number) => void) {
  const child = new ScriptedChild({ id: 'a' }, { onStart: (n) => (n > 1 ? startAgain(n) : undefined) });
  const { supervisor: root, clock } = await supervise({ name: 'root', children: [child.spec] });
  const events = new Events();
  const faults: unknown[] = [];
  events.on('fault', (fault) => faults.push(fault));
  const restarts = new Restarts({ root: () => root, roster: new WorkerRoster(), events, clock });
  return { root, restarts, clock, faults, starts: () => child.incarnations.length };
}

type Setting = Awaited<ReturnType<typeof setting>>;

const node = ({ root }: Setting) => root.snapshot().children[0];

test('a child that does not start again is told to again, with backoff, until it does', async () => {
  const it = await setting((n) => {
    if (n < 5) throw new Error('not yet');
  });
  it.restarts.request('a', 'somebody');
  for (const start of [2, 3, 4]) {
    await until(() => it.starts() === start && it.clock.pendingTimers === 1);
    expect(node(it)?.state).toBe('stopped');
    // While that lasts, the same restart is asked for.
    expect(it.restarts.request('/root/a', 'somebody else')).toEqual({ path: '/root/a', incarnation: 1 });
    it.clock.advance(10_000);
  }
  await until(() => node(it)?.state === 'running');
  expect(node(it)?.incarnation).toBe(5);
  expect([it.root.snapshot().restarts, it.clock.pendingTimers, it.faults]).toEqual([0, 0, []]);
  expect(it.restarts.request('a', 'somebody')).toEqual({ path: '/root/a', incarnation: 5 });
});

test('nobody waits to try again once the tree has ended', async () => {
  const it = await setting(() => {
    throw new Error('never');
  });
  it.restarts.request('a', 'somebody');
  await until(() => it.clock.pendingTimers === 1);
  await it.root.stop();
  it.restarts.close();
  expect(it.clock.pendingTimers).toBe(0);
  expect(it.faults).toEqual([]);
  expect(() => it.restarts.request('a', 'somebody')).toThrow(
    expect.objectContaining({ code: 'SHUTTING_DOWN' }),
  );
});

test('a child that somebody else has started meanwhile is left alone', async () => {
  let fail = true;
  const it = await setting(() => {
    if (fail) throw new Error('not yet');
  });
  it.restarts.request('a', 'somebody');
  await until(() => it.clock.pendingTimers === 1);
  fail = false;
  await it.root.restartChild('a');
  it.clock.advance(10_000);
  await new Promise((resolve) => setImmediate(resolve));
  expect([it.starts(), node(it)?.state, it.faults]).toEqual([3, 'running', []]);
});
