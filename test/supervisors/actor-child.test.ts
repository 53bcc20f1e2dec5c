import { expect, test } from 'vitest';
import type { ActorRef } from '../../src/actors/actor.ts';
import { type ActorChildOptions, actorChild } from '../../src/supervisors/actor-child.ts';
import { KILLED, NORMAL, SHUTDOWN } from '../../src/supervisors/exit-reason.ts';
import { nextTurn, type Step, scripted, until } from '../support/actor-harness.ts';
import { dealtWith, gate, supervise } from './supervisor-harness.ts';

/** An actor that does what it is told, and the references to its incarnations. */
function scriptedChild(options: Partial<ActorChildOptions<Step>> = {}) {
  const refs: ActorRef<Step>[] = [];
  const spec = actorChild<Step>({
    id: 'queue',
    init: scripted('queue').init,
    onStarted: (ref) => refs.push(ref),
    ...options,
  });
  return { spec, refs, tell: (step: Step) => refs.at(-1)?.tell(step) };
}

test('an actor lives under its supervisor, and a new reference comes with each incarnation', async () => {
  const { spec, refs, tell } = scriptedChild();
  const { supervisor, system, events } = await supervise({ children: [spec] });
  expect(refs.map(({ path }) => path)).toEqual(['/pool/queue']);
  const error = new Error('broken');
  tell(() => {
    throw error;
  });
  await dealtWith(supervisor);
  await dealtWith(supervisor);
  expect(events.find(({ type }) => type === 'child_exited')).toMatchObject({
    reason: { kind: 'error', error },
  });
  expect(refs.map(({ path }) => path)).toEqual(['/pool/queue', '/pool/queue']);
  expect(refs[0]?.tell(() => undefined)).toBe('dead');
  expect(refs[1]?.tell(() => undefined)).toBe('accepted');
  expect(system.isAlive(supervisor.ref)).toBe(true);
});

test('an actor that stops itself has ended in order', async () => {
  const { spec, tell } = scriptedChild({ restart: 'transient' });
  const { supervisor, events } = await supervise({ children: [spec] });
  tell((context) => context.stop());
  await dealtWith(supervisor);
  await dealtWith(supervisor);
  expect(events.at(-1)).toMatchObject({ type: 'child_exited', reason: NORMAL });
  expect(await supervisor.whichChildren()).toEqual([{ id: 'queue', type: 'worker', child: undefined }]);
});

test('an actor is stopped, or killed, and its last words are awaited both times', async () => {
  for (const [shutdown, reason] of [
    ['infinity', SHUTDOWN],
    ['brutal-kill', KILLED],
  ] as const) {
    const { opened, open } = gate();
    const { spec } = scriptedChild({ shutdown, init: scripted('queue', { terminate: () => opened }).init });
    const { supervisor, events } = await supervise({ children: [spec] });
    const stopped = supervisor.stop();
    await until(() => supervisor.snapshot().state === 'stopping');
    await nextTurn();
    expect(events.map(({ type }) => type)).toEqual(['child_started']);
    open();
    await stopped;
    expect(events.at(-1)).toMatchObject({ type: 'child_stopped', reason });
  }
});

test('an actor whose init throws has not started', async () => {
  const { spec } = scriptedChild({
    init: () => {
      throw new Error('no queue');
    },
  });
  await expect(supervise({ children: [spec] })).rejects.toMatchObject({
    id: 'queue',
    cause: { message: '/pool/queue did not start', cause: { message: 'no queue' } },
  });
});

test('an actor is gone again when whoever waits for its start throws', async () => {
  const { spec } = scriptedChild({
    onStarted: () => {
      throw new Error('no room');
    },
  });
  await expect(supervise({ children: [spec] })).rejects.toMatchObject({ cause: { message: 'no room' } });
});
