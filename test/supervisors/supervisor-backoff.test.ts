import { describe, expect, test } from 'vitest';
import { SHUTDOWN } from '../../src/supervisors/exit-reason.ts';
import type { SupervisorHandle } from '../../src/supervisors/supervisor-handle.ts';
import { until } from '../support/actor-harness.ts';
import { ScriptedChild } from './scripted-child.ts';
import { dealtWith, gate, stateOf, supervise } from './supervisor-harness.ts';

const backoff = { initialMs: 100, maxMs: 1_000, factor: 2, jitter: 0.5, resetAfterMs: 10_000 };

function backoffOf(supervisor: SupervisorHandle, id: string) {
  return supervisor.snapshot().children.find(({ path }) => path.endsWith(`/${id}`))?.backoff;
}

describe('a child with backoff', () => {
  test('is started again when its delay is over and not before', async () => {
    const child = new ScriptedChild({ id: 'a', backoff });
    const { supervisor, clock, events } = await supervise({ children: [child.spec] });
    child.crash();
    await dealtWith(supervisor);
    expect(stateOf(supervisor, 'a')).toBe('restarting');
    expect(backoffOf(supervisor, 'a')).toEqual({ attempt: 1, delay_ms: 100 });
    expect(events.at(-1)).toMatchObject({
      type: 'restart_scheduled',
      id: 'a',
      incarnation: 1,
      delayMs: 100,
      attempt: 1,
    });
    clock.advance(99);
    await dealtWith(supervisor);
    expect(child.calls).toEqual(['start 1']);
    clock.advance(1);
    await dealtWith(supervisor);
    expect(child.calls).toEqual(['start 1', 'start 2']);
    expect(backoffOf(supervisor, 'a')).toEqual({ attempt: 1, delay_ms: 0 });
  });

  test('waits longer each time, until it has run long enough', async () => {
    const child = new ScriptedChild({ id: 'a', backoff });
    const { supervisor, clock } = await supervise({ children: [child.spec] });
    for (const delay of [100, 200, 400, 800, 1_000]) {
      child.crash();
      await dealtWith(supervisor);
      expect(backoffOf(supervisor, 'a')?.delay_ms).toBe(delay);
      clock.advance(delay);
      await dealtWith(supervisor);
    }
    clock.advance(9_999);
    expect(backoffOf(supervisor, 'a')?.attempt).toBe(5);
    clock.advance(1);
    expect(backoffOf(supervisor, 'a')?.attempt).toBe(0);
    child.crash();
    await dealtWith(supervisor);
    expect(backoffOf(supervisor, 'a')).toEqual({ attempt: 1, delay_ms: 100 });
  });

  test('leaves a part of each delay to chance', async () => {
    const child = new ScriptedChild({ id: 'a', backoff });
    const { supervisor } = await supervise({ children: [child.spec], random: () => 1 });
    child.crash();
    await dealtWith(supervisor);
    expect(backoffOf(supervisor, 'a')?.delay_ms).toBe(50);
  });

  test('does not keep the others waiting', async () => {
    const child = new ScriptedChild({ id: 'a', backoff });
    const other = new ScriptedChild({ id: 'b' });
    const { supervisor } = await supervise({ children: [child.spec, other.spec] });
    child.crash();
    other.crash();
    await dealtWith(supervisor);
    expect(other.calls).toEqual(['start 1', 'start 2']);
    expect(await supervisor.whichChildren()).toMatchObject([{ id: 'b' }, { id: 'a', child: 'restarting' }]);
    expect(await supervisor.countChildren()).toEqual({ specs: 2, active: 1, supervisors: 0, workers: 2 });
    await supervisor.startChild(new ScriptedChild({ id: 'c' }).spec);
    await expect(supervisor.restartChild('a')).rejects.toMatchObject({ code: 'restarting' });
    await expect(supervisor.startChild(child.spec)).rejects.toMatchObject({ code: 'already_present' });
  });

  test('counts a restart once, when it is scheduled', async () => {
    const child = new ScriptedChild({ id: 'a', backoff });
    const { supervisor, clock } = await supervise({ intensity: 2, children: [child.spec] });
    for (const delay of [100, 200]) {
      child.crash();
      await dealtWith(supervisor);
      clock.advance(delay);
      await dealtWith(supervisor);
    }
    expect(supervisor.snapshot().restarts).toBe(2);
    child.crash();
    expect(await supervisor.exited).toEqual(SHUTDOWN);
    expect(child.calls).toEqual(['start 1', 'start 2', 'start 3']);
  });

  test('waits again, and longer, when a start fails', async () => {
    const fails = (incarnation: number) => {
      if (incarnation > 1 && incarnation < 4) throw new Error('not yet');
    };
    const child = new ScriptedChild({ id: 'a', backoff }, { onStart: fails });
    const { supervisor, clock } = await supervise({ children: [child.spec] });
    child.crash();
    for (const delay of [100, 200, 400]) {
      await dealtWith(supervisor);
      expect(backoffOf(supervisor, 'a')?.delay_ms).toBe(delay);
      clock.advance(delay);
    }
    await dealtWith(supervisor);
    expect(child.calls).toEqual(['start 1', 'start 2', 'start 3', 'start 4']);
    expect(supervisor.snapshot().restarts).toBe(3);
  });

  test('an exit that does not count is followed by a restart at once', async () => {
    const child = new ScriptedChild({
      id: 'a',
      backoff,
      countsTowardsIntensity: ({ kind }) => kind === 'error',
    });
    const { supervisor } = await supervise({ children: [child.spec] });
    child.exit({ kind: 'killed' });
    await dealtWith(supervisor);
    expect(child.calls).toEqual(['start 1', 'start 2']);
    expect(backoffOf(supervisor, 'a')).toEqual({ attempt: 0, delay_ms: 0 });
  });
});

describe('a delay', () => {
  async function delayed() {
    const child = new ScriptedChild({ id: 'a', backoff });
    const supervised = await supervise({ children: [child.spec] });
    child.crash();
    await dealtWith(supervised.supervisor);
    expect(supervised.clock.pendingTimers).toBe(1);
    return { child, ...supervised };
  }

  test('ends when the child is terminated, and the child can be restarted by hand', async () => {
    const { child, supervisor, clock } = await delayed();
    await supervisor.terminateChild('a');
    expect(clock.pendingTimers).toBe(0);
    expect(stateOf(supervisor, 'a')).toBe('stopped');
    await supervisor.restartChild('a');
    clock.advance(1_000);
    await dealtWith(supervisor);
    expect(child.calls).toEqual(['start 1', 'start 2']);
  });

  test('ends when the child is deleted', async () => {
    const { child, supervisor, clock } = await delayed();
    await supervisor.deleteChild('a');
    expect(clock.pendingTimers).toBe(0);
    expect(await supervisor.whichChildren()).toEqual([]);
    clock.advance(1_000);
    await dealtWith(supervisor);
    expect(child.calls).toEqual(['start 1']);
  });

  test('ends when the supervisor stops', async () => {
    const { child, supervisor, clock } = await delayed();
    await supervisor.stop();
    expect(clock.pendingTimers).toBe(0);
    expect(child.calls).toEqual(['start 1']);
  });

  test('that was over already when it was cancelled starts nothing', async () => {
    const { child, supervisor, clock } = await delayed();
    const { opened, open } = gate();
    const held = supervisor.startChild(new ScriptedChild({ id: 'gate' }, { onStart: () => opened }).spec);
    const terminated = supervisor.terminateChild('a');
    clock.advance(100);
    open();
    await Promise.all([held, terminated]);
    await dealtWith(supervisor);
    expect(child.calls).toEqual(['start 1']);
    expect(stateOf(supervisor, 'a')).toBe('stopped');
  });

  test('that was over already before the child came back is no second restart', async () => {
    const { child, supervisor, clock } = await delayed();
    const { opened, open } = gate();
    const held = supervisor.startChild(new ScriptedChild({ id: 'gate' }, { onStart: () => opened }).spec);
    const calls = [supervisor.terminateChild('a'), supervisor.restartChild('a')];
    clock.advance(100);
    open();
    await Promise.all([held, ...calls]);
    child.crash();
    await dealtWith(supervisor);
    expect(child.calls).toEqual(['start 1', 'start 2']);
    expect(stateOf(supervisor, 'a')).toBe('restarting');
  });
});

describe('a group with backoff', () => {
  async function group(strategy: 'one_for_all' | 'rest_for_one') {
    const children = ['a', 'b', 'c'].map((id) => new ScriptedChild({ id, backoff }));
    const [a, b, c] = children as [ScriptedChild, ScriptedChild, ScriptedChild];
    return { a, b, c, ...(await supervise({ strategy, children: children.map(({ spec }) => spec) })) };
  }

  test('one_for_all stops the others at once and starts all of them after the delay', async () => {
    const { a, b, c, supervisor, clock } = await group('one_for_all');
    b.crash();
    await dealtWith(supervisor);
    expect([a.calls, b.calls, c.calls]).toEqual([['start 1', 'stop 1'], ['start 1'], ['start 1', 'stop 1']]);
    expect(['a', 'b', 'c'].map((id) => stateOf(supervisor, id))).toEqual([
      'stopped',
      'restarting',
      'stopped',
    ]);
    clock.advance(100);
    await dealtWith(supervisor);
    expect([a, b, c].map(({ calls }) => calls.at(-1))).toEqual(['start 2', 'start 2', 'start 2']);
  });

  test('rest_for_one leaves alone what started before', async () => {
    const { a, b, c, supervisor, clock } = await group('rest_for_one');
    b.crash();
    await dealtWith(supervisor);
    expect([a.calls, b.calls, c.calls]).toEqual([['start 1'], ['start 1'], ['start 1', 'stop 1']]);
    clock.advance(100);
    await dealtWith(supervisor);
    expect([a.calls.at(-1), b.calls.at(-1), c.calls.at(-1)]).toEqual(['start 1', 'start 2', 'start 2']);
  });

  test('an exit during the delay begins a delay of its own in place of the first', async () => {
    const { a, b, c, supervisor, clock } = await group('rest_for_one');
    b.crash();
    await dealtWith(supervisor);
    clock.advance(60);
    a.crash();
    await dealtWith(supervisor);
    expect(clock.pendingTimers).toBe(1);
    clock.advance(99);
    await dealtWith(supervisor);
    expect([a, b, c].map(({ incarnations }) => incarnations.length)).toEqual([1, 1, 1]);
    clock.advance(1);
    await dealtWith(supervisor);
    expect([a, b, c].map(({ incarnations }) => incarnations.length)).toEqual([2, 2, 2]);
  });

  test('exits that waited while the group was being stopped are part of the same restart', async () => {
    const { a, b, c, supervisor, clock } = await group('one_for_all');
    b.crash();
    a.crash();
    c.crash();
    await dealtWith(supervisor);
    expect(supervisor.snapshot().restarts).toBe(1);
    clock.advance(100);
    await until(() => c.incarnations.length === 2);
    expect([a, b, c].map(({ calls }) => calls)).toEqual(Array(3).fill(['start 1', 'start 2']));
  });
});
