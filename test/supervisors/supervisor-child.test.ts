import { expect, test } from 'vitest';
import { KILLED, SHUTDOWN } from '../../src/supervisors/exit-reason.ts';
import { supervisorChild } from '../../src/supervisors/supervisor-child.ts';
import type { SupervisorHandle } from '../../src/supervisors/supervisor-handle.ts';
import { nextTurn, until } from '../support/actor-harness.ts';
import { ScriptedChild } from './scripted-child.ts';
import { dealtWith, gate, supervise } from './supervisor-harness.ts';

test('a tree has one path for each node, and one snapshot', async () => {
  const a = new ScriptedChild({ id: 'a' });
  const workers = supervisorChild({
    id: 'workers',
    restart: 'transient',
    strategy: 'one_for_all',
    intensity: 5,
    backoff: { initialMs: 1, maxMs: 1 },
    children: [a.spec],
  });
  const { supervisor } = await supervise({ children: [workers] });
  expect(a.current.path).toBe('/pool/workers/a');
  expect(supervisor.snapshot().children).toMatchObject([
    {
      path: '/pool/workers',
      kind: 'supervisor',
      state: 'running',
      strategy: 'one_for_all',
      restart: 'transient',
      incarnation: 1,
      intensity: 5,
      backoff: { attempt: 0, delay_ms: 0 },
      children: [{ path: '/pool/workers/a', state: 'running' }],
    },
  ]);
});

test('whoever waits for the handle gets a new one with each incarnation', async () => {
  const handles: SupervisorHandle[] = [];
  const a = new ScriptedChild({ id: 'a' });
  const workers = supervisorChild({
    id: 'workers',
    intensity: 0,
    children: [a.spec],
    onStarted: (handle) => handles.push(handle),
  });
  const { supervisor, faults } = await supervise({ children: [workers] });
  a.crash();
  await until(() => handles.length === 2);
  expect(await handles[0]?.exited).toEqual(SHUTDOWN);
  expect(await handles[1]?.countChildren()).toMatchObject({ active: 1 });
  expect(supervisor.snapshot().children[0]).toMatchObject({ incarnation: 2, restarts: 0 });
  expect(faults).toEqual([]);
});

test('a supervisor that gave up waits out its backoff as any child does', async () => {
  const a = new ScriptedChild({ id: 'a' });
  const workers = supervisorChild({
    id: 'workers',
    intensity: 0,
    backoff: { initialMs: 1_000, maxMs: 1_000, jitter: 0 },
    children: [a.spec],
  });
  const { supervisor, clock } = await supervise({ intensity: Number.POSITIVE_INFINITY, children: [workers] });
  a.crash();
  await until(() => supervisor.snapshot().children[0]?.state === 'restarting');
  expect(supervisor.snapshot().children[0]).toMatchObject({
    backoff: { attempt: 1, delay_ms: 1_000 },
    children: [],
  });
  clock.advance(1_000);
  await until(() => a.incarnations.length === 2);
  await dealtWith(supervisor);
  expect(supervisor.snapshot().children[0]).toMatchObject({ state: 'running', incarnation: 2 });
});

test('a supervisor that is killed kills its children at once, and is gone when they are', async () => {
  const slow = new ScriptedChild(
    { id: 'a', shutdown: 'infinity' },
    { onStop: () => undefined, onKill: () => undefined },
  );
  const other = new ScriptedChild({ id: 'b' });
  const workers = supervisorChild({
    id: 'workers',
    shutdown: 'brutal-kill',
    children: [slow.spec, other.spec],
  });
  const { supervisor, events } = await supervise({ children: [workers] });
  const terminated = supervisor.terminateChild('workers');
  await until(() => slow.calls.includes('kill 1'));
  expect(slow.calls).toEqual(['start 1', 'kill 1']);
  await until(() => other.calls.includes('kill 1'));
  expect(events.some(({ type }) => type === 'child_stopped')).toBe(false);
  slow.exit(KILLED);
  await terminated;
  expect(events.at(-1)).toMatchObject({ type: 'child_stopped', id: 'workers', reason: KILLED, killed: true });
});

test('a supervisor that hangs in the stop of a child can be killed', async () => {
  const slow = new ScriptedChild({ id: 'a', shutdown: 'infinity' }, { onStop: () => undefined });
  const workers = supervisorChild({ id: 'workers', shutdown: 1_000, children: [slow.spec] });
  const { supervisor, clock, events } = await supervise({ children: [workers] });
  const terminated = supervisor.terminateChild('workers');
  await until(() => slow.calls.includes('stop 1'));
  clock.advance(1_000);
  await terminated;
  expect(slow.calls).toEqual(['start 1', 'stop 1', 'kill 1']);
  expect(events.at(-1)).toMatchObject({ type: 'child_stopped', id: 'workers', killed: true });
});

test('a supervisor that hangs in the start of a child can be killed, and the child goes as soon as it is there', async () => {
  const { opened, open } = gate();
  let workers: SupervisorHandle | undefined;
  const slow = new ScriptedChild({ id: 'a' }, { onStart: () => opened });
  const { supervisor } = await supervise({
    children: [
      supervisorChild({
        id: 'workers',
        shutdown: 'brutal-kill',
        children: [],
        onStarted: (handle) => {
          workers = handle;
        },
      }),
    ],
  });
  const started = workers?.startChild(slow.spec).catch((error: unknown) => error);
  await until(() => slow.calls.includes('start 1'));
  const terminated = supervisor.terminateChild('workers');
  await nextTurn();
  open();
  await terminated;
  expect(slow.calls).toEqual(['start 1', 'kill 1']);
  expect(await started).toMatchObject({ name: 'ActorGoneError' });
});

test('a supervisor is gone again when whoever waits for its start throws', async () => {
  const a = new ScriptedChild({ id: 'a' });
  const workers = supervisorChild({
    id: 'workers',
    children: [a.spec],
    onStarted: () => {
      throw new Error('no room');
    },
  });
  await expect(supervise({ children: [workers] })).rejects.toMatchObject({ cause: { message: 'no room' } });
  expect(a.calls).toEqual(['start 1', 'stop 1']);
});

test('a tree of many supervisors stops from the leaves up and leaves nothing', async () => {
  const order: string[] = [];
  const leaf = (id: string) =>
    new ScriptedChild(
      { id },
      {
        onStop: ({ path, exited }) => {
          order.push(path);
          exited(SHUTDOWN);
        },
      },
    ).spec;
  const branch = (id: string) => supervisorChild({ id, children: [leaf('x'), leaf('y')] });
  const { supervisor, system } = await supervise({
    children: [branch('left'), leaf('middle'), branch('right')],
  });
  await supervisor.stop();
  expect(order).toEqual(['/pool/right/y', '/pool/right/x', '/pool/middle', '/pool/left/y', '/pool/left/x']);
  expect(system.stats).toMatchObject({ live: 0, deadLetters: 0 });
});
