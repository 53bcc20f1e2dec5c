import { expect, test } from 'vitest';
import { InvalidOptionError } from '../../src/supervisors/expected.ts';
import { ChildCallError } from '../../src/supervisors/supervisor-errors.ts';
import { ScriptedChild } from './scripted-child.ts';
import { dealtWith, stateOf, supervise } from './supervisor-harness.ts';

test('another intensity is in force at once, and restarts that have happened count against it', async () => {
  const child = new ScriptedChild({ id: 'a' });
  const { supervisor, events } = await supervise({ intensity: 10, children: [child.spec] });
  for (let turn = 0; turn < 3; turn += 1) {
    child.crash();
    await dealtWith(supervisor);
  }
  await supervisor.reconfigure({ intensity: 4 });
  expect(supervisor.snapshot()).toMatchObject({ intensity: 4, restarts: 3 });
  child.crash();
  await dealtWith(supervisor);
  expect(events.at(-1)).toMatchObject({ type: 'child_started', incarnation: 5 });
  child.crash();
  await supervisor.exited;
  expect(events).toContainEqual(expect.objectContaining({ type: 'supervisor_gave_up', used: 5, allowed: 4 }));
});

test('a supervisor that was about to give up goes on with a larger intensity', async () => {
  const child = new ScriptedChild({ id: 'a' });
  const { supervisor } = await supervise({ intensity: 1, children: [child.spec] });
  child.crash();
  await dealtWith(supervisor);
  await supervisor.reconfigure({ intensity: 5, periodMs: 60_000 });
  child.crash();
  await dealtWith(supervisor);
  expect(supervisor.snapshot()).toMatchObject({ state: 'running', intensity: 5, period_ms: 60_000 });
});

test('another strategy decides about the next exit', async () => {
  const [a, b] = [new ScriptedChild({ id: 'a' }), new ScriptedChild({ id: 'b' })];
  const { supervisor } = await supervise({ children: [a.spec, b.spec] });
  a.crash();
  await dealtWith(supervisor);
  expect(b.calls).toEqual(['start 1']);
  await supervisor.reconfigure({ strategy: 'one_for_all' });
  a.crash();
  await dealtWith(supervisor);
  expect(b.calls).toEqual(['start 1', 'stop 1', 'start 2']);
});

test('what was ended for the old strategy comes back with the child that it waited for', async () => {
  const a = new ScriptedChild({ id: 'a', backoff: { initialMs: 100, maxMs: 100 } });
  const b = new ScriptedChild({ id: 'b' });
  const { supervisor, clock } = await supervise({ strategy: 'one_for_all', children: [a.spec, b.spec] });
  a.crash();
  await dealtWith(supervisor);
  expect(stateOf(supervisor, 'b')).toBe('stopped');
  await supervisor.reconfigure({ strategy: 'one_for_one' });
  clock.advance(100);
  await dealtWith(supervisor);
  expect([stateOf(supervisor, 'a'), stateOf(supervisor, 'b')]).toEqual(['running', 'running']);
});

test('another spec of a child is in force for the incarnation that runs', async () => {
  const child = new ScriptedChild({ id: 'a' });
  const { supervisor } = await supervise({ children: [child.spec] });
  await supervisor.reconfigure({ children: [{ ...child.spec, restart: 'temporary' }] });
  expect(child.calls).toEqual(['start 1']);
  child.crash();
  await dealtWith(supervisor);
  expect(await supervisor.whichChildren()).toEqual([]);
});

test('another backoff is that of the next delay', async () => {
  const child = new ScriptedChild({ id: 'a', backoff: { initialMs: 100, maxMs: 100 } });
  const { supervisor, events } = await supervise({ children: [child.spec] });
  await supervisor.reconfigure({ children: [{ ...child.spec, backoff: { initialMs: 7, maxMs: 7 } }] });
  child.crash();
  await dealtWith(supervisor);
  expect(events.at(-1)).toMatchObject({ type: 'restart_scheduled', delayMs: 7 });
});

test('what is refused changes nothing', async () => {
  const child = new ScriptedChild({ id: 'a' });
  const { supervisor } = await supervise({ intensity: 3, children: [child.spec] });
  const before = supervisor.snapshot();
  await expect(supervisor.reconfigure({ intensity: -1 })).rejects.toThrow(InvalidOptionError);
  const stranger = { ...child.spec, id: 'b' };
  const refused = supervisor.reconfigure({ intensity: 9, children: [child.spec, stranger] });
  await expect(refused).rejects.toThrow(ChildCallError);
  await expect(refused).rejects.toMatchObject({ code: 'not_found', id: 'b' });
  expect(supervisor.snapshot()).toEqual(before);
});
