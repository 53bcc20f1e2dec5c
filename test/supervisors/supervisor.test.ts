import { describe, expect, test } from 'vitest';
import { ActorGoneError } from '../../src/actors/actor.ts';
import { NORMAL, SHUTDOWN } from '../../src/supervisors/exit-reason.ts';
import { InvalidOptionError } from '../../src/supervisors/expected.ts';
import { RestartIntensityError, SupervisorStartError } from '../../src/supervisors/supervisor-errors.ts';
import { startSupervisor } from '../../src/supervisors/supervisor-start.ts';
import { actorHarness, nextTurn, until } from '../support/actor-harness.ts';
import { ScriptedChild } from './scripted-child.ts';
import { dealtWith, gate, stateOf, supervise } from './supervisor-harness.ts';

describe('exits', () => {
  test('an exit of an earlier incarnation is dropped', async () => {
    const child = new ScriptedChild({ id: 'a' });
    const { supervisor } = await supervise({ children: [child.spec] });
    child.crash();
    await dealtWith(supervisor);
    child.incarnations[0]?.exited({ kind: 'error', error: 'late' });
    await dealtWith(supervisor);
    expect(child.calls).toEqual(['start 1', 'start 2']);
    expect(stateOf(supervisor, 'a')).toBe('running');
  });

  test('an exit that comes when the child was stopped already is dropped', async () => {
    const child = new ScriptedChild({ id: 'a' });
    const { supervisor } = await supervise({ children: [child.spec] });
    const terminated = supervisor.terminateChild('a');
    child.crash();
    await terminated;
    await dealtWith(supervisor);
    expect(child.calls).toEqual(['start 1']);
    expect(stateOf(supervisor, 'a')).toBe('stopped');
  });

  test('a child that exits twice exits once, for the first reason', async () => {
    const child = new ScriptedChild({ id: 'a' });
    const { supervisor, events } = await supervise({ children: [child.spec] });
    const { exited } = child.current;
    exited(NORMAL);
    exited({ kind: 'error', error: 'again' });
    await dealtWith(supervisor);
    exited({ kind: 'error', error: 'and again' });
    await dealtWith(supervisor);
    expect(child.calls).toEqual(['start 1', 'start 2']);
    expect(events.filter(({ type }) => type === 'child_exited')).toMatchObject([
      { reason: NORMAL, incarnation: 1 },
    ]);
  });

  test('the reason is passed on verbatim', async () => {
    const error = new Error('signal 11');
    const child = new ScriptedChild({ id: 'a', restart: 'temporary' });
    const { supervisor, events } = await supervise({ children: [child.spec] });
    const reason = { kind: 'error', error } as const;
    child.exit(reason);
    await dealtWith(supervisor);
    const exited = events.find(({ type }) => type === 'child_exited');
    expect(exited?.type === 'child_exited' && exited.reason).toBe(reason);
  });
});

describe('stopping', () => {
  test('a child with shutdown infinity is never killed, and everything waits for it', async () => {
    const child = new ScriptedChild({ id: 'a', shutdown: 'infinity' }, { onStop: () => undefined });
    const other = new ScriptedChild({ id: 'b' });
    const { supervisor, clock } = await supervise({ children: [other.spec, child.spec] });
    const stopped = supervisor.stop();
    await until(() => child.calls.length === 2);
    clock.advance(2 ** 40);
    await nextTurn();
    expect(child.calls).toEqual(['start 1', 'stop 1']);
    expect(other.calls).toEqual(['start 1']);
    expect(supervisor.snapshot().state).toBe('stopping');
    expect(stateOf(supervisor, 'a')).toBe('stopping');
    child.exit(SHUTDOWN);
    expect(await stopped).toEqual(SHUTDOWN);
    expect(other.calls).toEqual(['start 1', 'stop 1']);
    expect(supervisor.snapshot().state).toBe('stopped');
  });

  test('a child is killed when its time is over and not before, and its exit is waited for even then', async () => {
    const child = new ScriptedChild(
      { id: 'a', shutdown: 500 },
      { onStop: () => undefined, onKill: () => undefined },
    );
    const { supervisor, clock, events } = await supervise({ children: [child.spec] });
    const stopped = supervisor.stop();
    await until(() => child.calls.includes('stop 1'));
    clock.advance(499);
    await nextTurn();
    expect(child.calls).toEqual(['start 1', 'stop 1']);
    clock.advance(1);
    await until(() => child.calls.includes('kill 1'));
    await nextTurn();
    expect(supervisor.snapshot().state).toBe('stopping');
    child.exit({ kind: 'killed' });
    await stopped;
    expect(events.at(-1)).toMatchObject({ type: 'child_stopped', killed: true, reason: { kind: 'killed' } });
  });

  test('a child that ends in time is not killed, and its timer goes', async () => {
    const child = new ScriptedChild({ id: 'a', shutdown: 500 });
    const { supervisor, clock, events } = await supervise({ children: [child.spec] });
    await supervisor.terminateChild('a');
    expect(clock.pendingTimers).toBe(0);
    expect(child.calls).toEqual(['start 1', 'stop 1']);
    expect(events.at(-1)).toMatchObject({ type: 'child_stopped', killed: false, reason: SHUTDOWN });
  });

  test('stop may be called again, before and after the end', async () => {
    const child = new ScriptedChild({ id: 'a' });
    const { supervisor } = await supervise({ children: [child.spec] });
    expect(await Promise.all([supervisor.stop(), supervisor.stop()])).toEqual([SHUTDOWN, SHUTDOWN]);
    expect(await supervisor.stop()).toEqual(SHUTDOWN);
    expect(child.calls).toEqual(['start 1', 'stop 1']);
  });

  test('calls to a supervisor that is gone, or goes before it answers, reject', async () => {
    const { supervisor } = await supervise({ children: [] });
    const stopped = supervisor.stop();
    await expect(supervisor.whichChildren()).rejects.toThrow(ActorGoneError);
    await stopped;
    await expect(supervisor.countChildren()).rejects.toThrow(ActorGoneError);
  });

  test('a supervisor leaves no dead letters when it stops', async () => {
    const child = new ScriptedChild({ id: 'a' });
    const { supervisor, system } = await supervise({ children: [child.spec] });
    await supervisor.stop();
    expect(system.stats.deadLetters).toBe(0);
  });

  test('when its actor is stopped over its head, the children are ended all the same', async () => {
    const children = ['a', 'b'].map((id) => new ScriptedChild({ id }));
    const { supervisor, system } = await supervise({ children: children.map(({ spec }) => spec) });
    await system.stop(supervisor.ref);
    expect(children.map(({ calls }) => calls)).toEqual([
      ['start 1', 'stop 1'],
      ['start 1', 'stop 1'],
    ]);
    expect(await supervisor.exited).toEqual(SHUTDOWN);
  });

  test('a child whose start is over only when the actor is stopping is ended, and none is started after it', async () => {
    const { opened, open } = gate();
    const slow = new ScriptedChild(
      { id: 'a' },
      { onStart: (incarnation) => (incarnation === 1 ? undefined : opened) },
    );
    const next = new ScriptedChild({ id: 'b' });
    const { supervisor, system } = await supervise({
      strategy: 'one_for_all',
      children: [slow.spec, next.spec],
    });
    slow.crash();
    await until(() => slow.calls.includes('start 2'));
    expect(stateOf(supervisor, 'a')).toBe('starting');
    const stopped = system.stop(supervisor.ref);
    await nextTurn();
    open();
    await stopped;
    expect(slow.calls).toEqual(['start 1', 'start 2', 'stop 2']);
    expect(next.calls).toEqual(['start 1', 'stop 1']);
  });
});

describe('starting', () => {
  test('fails with the child and the cause, and leaves nothing', async () => {
    const { system } = actorHarness();
    const cause = new Error('no memory');
    const first = new ScriptedChild({ id: 'a' });
    const second = new ScriptedChild({ id: 'b' }, { onStart: () => Promise.reject(cause) });
    const started = startSupervisor(system, { name: 'pool', children: [first.spec, second.spec] });
    await expect(started).rejects.toThrow('/pool did not start, because its child b did not: no memory');
    const error = await started.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SupervisorStartError);
    expect(error).toMatchObject({ id: 'b', cause });
    expect(first.calls).toEqual(['start 1', 'stop 1']);
    expect(system.stats.live).toBe(0);
  });

  test('refuses options that are not what they have to be', async () => {
    const { system } = actorHarness();
    const started = startSupervisor(system, { name: 'pool', intensity: -1, children: [] });
    await expect(started).rejects.toThrow(InvalidOptionError);
  });

  test('a start that gives neither a child nor "ignore" has failed', async () => {
    const { system } = actorHarness();
    const started = startSupervisor(system, {
      name: 'pool',
      children: [{ id: 'a', start: (() => undefined) as never }],
    });
    await expect(started).rejects.toThrow('expected start to give { stop, kill } or "ignore", got undefined');
  });

  test('a start that never ends holds the calls, but not the snapshot', async () => {
    const { opened, open } = gate();
    const { supervisor } = await supervise({ children: [] });
    const starting = supervisor.startChild(new ScriptedChild({ id: 'a' }, { onStart: () => opened }).spec);
    let answered = false;
    const which = supervisor.whichChildren().finally(() => {
      answered = true;
    });
    await nextTurn();
    expect(stateOf(supervisor, 'a')).toBe('starting');
    expect(answered).toBe(false);
    open();
    expect(await starting).toMatchObject({ id: 'a', path: '/pool/a', incarnation: 1 });
    expect(await which).toHaveLength(1);
  });

  test('a call with an invalid child spec is refused', async () => {
    const { supervisor } = await supervise({ children: [] });
    await expect(supervisor.startChild({ id: 'a' } as never)).rejects.toThrow(InvalidOptionError);
  });
});

describe('giving up', () => {
  test('ends with shutdown, and its actor with an error nobody can miss', async () => {
    const child = new ScriptedChild({ id: 'a' });
    const { supervisor, events, faults } = await supervise({ intensity: 1, children: [child.spec] });
    child.crash();
    await dealtWith(supervisor);
    child.crash();
    expect(await supervisor.exited).toEqual(SHUTDOWN);
    expect(events.at(-1)).toMatchObject({
      type: 'supervisor_gave_up',
      id: 'a',
      incarnation: 2,
      used: 2,
      allowed: 1,
    });
    expect(faults).toMatchObject([{ path: '/pool', error: expect.any(RestartIntensityError) as unknown }]);
    expect(faults[0]?.error).toMatchObject({
      message: '/pool gave up: 2 restarts within 5000 ms, 1 allowed',
    });
  });

  test('restarts older than the period are forgotten', async () => {
    const child = new ScriptedChild({ id: 'a' });
    const { supervisor, clock } = await supervise({ intensity: 1, periodMs: 1_000, children: [child.spec] });
    for (let restart = 2; restart < 10; restart += 1) {
      child.crash();
      await dealtWith(supervisor);
      expect(supervisor.snapshot().restarts).toBe(1);
      clock.advance(1_001);
    }
    expect(supervisor.snapshot().restarts).toBe(0);
    expect(child.incarnations).toHaveLength(9);
  });

  test('an intensity of Infinity never does', async () => {
    const child = new ScriptedChild({ id: 'a' });
    const { supervisor } = await supervise({ intensity: Number.POSITIVE_INFINITY, children: [child.spec] });
    for (let restart = 0; restart < 200; restart += 1) {
      child.crash();
      await dealtWith(supervisor);
    }
    expect(child.incarnations).toHaveLength(201);
    expect(supervisor.snapshot()).toMatchObject({ restarts: 200, intensity: null });
  });

  test('an exit that does not count is followed by a restart and uses nothing up', async () => {
    const child = new ScriptedChild({ id: 'a', countsTowardsIntensity: ({ kind }) => kind === 'error' });
    const { supervisor, events } = await supervise({ intensity: 0, children: [child.spec] });
    for (let restart = 0; restart < 5; restart += 1) {
      child.exit({ kind: 'shutdown', detail: 'recycled' });
      await dealtWith(supervisor);
    }
    expect(child.incarnations).toHaveLength(6);
    expect(events.some(({ type }) => type === 'intensity')).toBe(false);
    child.crash();
    expect(await supervisor.exited).toEqual(SHUTDOWN);
  });
});

describe('faults', () => {
  test('a stop that throws crashes the supervisor, which kills that child and ends the others', async () => {
    const fault = new Error('channel closed');
    const bad = new ScriptedChild(
      { id: 'b' },
      {
        onStop: () => {
          throw fault;
        },
      },
    );
    const good = new ScriptedChild({ id: 'a' });
    const { supervisor, faults } = await supervise({ children: [good.spec, bad.spec] });
    await expect(supervisor.terminateChild('b')).rejects.toThrow(ActorGoneError);
    expect(await supervisor.exited).toEqual({ kind: 'error', error: fault });
    expect(bad.calls).toEqual(['start 1', 'stop 1', 'kill 1']);
    expect(good.calls).toEqual(['start 1', 'stop 1']);
    expect(faults).toEqual([{ path: '/pool', error: fault }]);
  });

  test('a child that cannot even be killed does not keep the supervisor from ending', async () => {
    const fail = () => {
      throw new Error('no such process');
    };
    const bad = new ScriptedChild({ id: 'b' }, { onStop: fail, onKill: fail });
    const good = new ScriptedChild({ id: 'a' });
    const { supervisor, faults } = await supervise({ children: [good.spec, bad.spec] });
    expect(await supervisor.stop()).toMatchObject({ kind: 'error' });
    expect(good.calls).toEqual(['start 1', 'stop 1']);
    expect(faults).toHaveLength(2);
  });

  test('a judgement that throws crashes the supervisor', async () => {
    const child = new ScriptedChild({
      id: 'a',
      countsTowardsIntensity: () => {
        throw new Error('no idea');
      },
    });
    const { supervisor } = await supervise({ children: [child.spec] });
    child.crash();
    expect(await supervisor.exited).toMatchObject({ kind: 'error', error: { message: 'no idea' } });
  });

  test('an observer that throws is reported, and nothing else happens', async () => {
    const child = new ScriptedChild({ id: 'a' });
    const { supervisor, faults } = await supervise({
      children: [child.spec],
      onEvent: () => {
        throw new Error('full disk');
      },
    });
    expect(faults).toMatchObject([{ path: '/pool', error: { message: 'full disk' } }]);
    expect(stateOf(supervisor, 'a')).toBe('running');
  });
});

describe('what it tells', () => {
  test('events come in order, with path, id and incarnation', async () => {
    const child = new ScriptedChild(
      { id: 'a' },
      {
        onStart: (incarnation) => {
          if (incarnation === 2) throw new Error('not yet');
        },
      },
    );
    const { supervisor, events } = await supervise({ children: [child.spec] });
    child.crash();
    await dealtWith(supervisor);
    await supervisor.stop();
    const common = { supervisor: '/pool', path: '/pool/a', id: 'a' };
    expect(events).toEqual([
      { ...common, type: 'child_started', incarnation: 1 },
      { ...common, type: 'child_exited', incarnation: 1, reason: { kind: 'error', error: 'broken' } },
      { ...common, type: 'intensity', incarnation: 1, used: 1, allowed: 10 },
      { ...common, type: 'child_start_failed', incarnation: 2, reason: new Error('not yet') },
      { ...common, type: 'intensity', incarnation: 2, used: 2, allowed: 10 },
      { ...common, type: 'child_started', incarnation: 3 },
      { ...common, type: 'child_stopped', incarnation: 3, reason: SHUTDOWN, killed: false },
    ]);
  });

  test('the snapshot is a node of the supervision tree', async () => {
    const child = new ScriptedChild({ id: 'a', backoff: { initialMs: 100, maxMs: 1_000 } });
    const { supervisor } = await supervise({ strategy: 'rest_for_one', children: [child.spec] });
    expect(supervisor.snapshot()).toEqual({
      path: '/pool',
      kind: 'supervisor',
      state: 'running',
      strategy: 'rest_for_one',
      restart: null,
      incarnation: 1,
      restarts: 0,
      intensity: 10,
      period_ms: 5_000,
      backoff: null,
      children: [
        {
          path: '/pool/a',
          kind: 'worker',
          state: 'running',
          strategy: null,
          restart: 'permanent',
          incarnation: 1,
          restarts: 0,
          intensity: null,
          period_ms: null,
          backoff: { attempt: 0, delay_ms: 0 },
          children: [],
        },
      ],
    });
  });
});
