import { describe, expect, test } from 'vitest';
import { ActorGoneError, AskTimeoutError, MailboxFullError } from '../../src/actors/actor.ts';
import { actorHarness, deferred, type Step, scripted, settled, until } from '../support/actor-harness.ts';

type Reply<Value> = (value: Value) => void;

const unanswered = () => () => undefined;

describe('ask', () => {
  test('resolves with the answer and leaves no timer behind', async () => {
    const { system, clock } = actorHarness();
    const ref = system.spawn(scripted('a'));
    const answer = system.ask<Step, number>(ref, (reply) => () => reply(42), 1_000);
    expect(clock.pendingTimers).toBe(1);
    expect(await answer).toBe(42);
    expect(clock.pendingTimers).toBe(0);
  });

  test('matches thousands of answers in flight to their questions, in whatever order they come', async () => {
    const { system } = actorHarness();
    const waiting: (() => void)[] = [];
    const ref = system.spawn(scripted('a'));
    const questions = Array.from({ length: 5_000 }, (_, n) => n);
    const answers = questions.map((n) =>
      system.ask<Step, number>(ref, (reply) => () => waiting.push(() => reply(n))),
    );
    ref.tell(() => {
      for (const answer of waiting.reverse()) answer();
    });
    expect(await Promise.all(answers)).toEqual(questions);
  });

  test('hears the first answer only', async () => {
    const { system } = actorHarness();
    const ref = system.spawn(scripted('a'));
    const answer = system.ask<Step, string>(ref, (reply) => () => {
      reply('first');
      reply('second');
    });
    expect(await answer).toBe('first');
  });

  test('times out, and ignores the answer that comes later', async () => {
    const { system, clock } = actorHarness();
    const ref = system.spawn(scripted('a'));
    const asked = deferred<Reply<string>>();
    const answer = system.ask<Step, string>(ref, (reply) => () => asked.resolve(reply), 50);
    const late = await asked.promise;
    clock.advance(50);
    late('too late');
    await expect(answer).rejects.toEqual(new AskTimeoutError('/a did not answer within 50 ms'));
    expect(await system.ask<Step, string>(ref, (reply) => () => reply('next'))).toBe('next');
  });

  test('rejects with what the request itself throws, and tells nothing', async () => {
    const { system, clock } = actorHarness();
    const ref = system.spawn(scripted('a'));
    const request = () => {
      throw new Error('no request');
    };
    await expect(system.ask(ref, request, 10)).rejects.toThrow('no request');
    expect(clock.pendingTimers).toBe(0);
  });

  test('fails at once when the mailbox is full', async () => {
    const { system } = actorHarness();
    const ref = system.spawn(scripted('a', { mailbox: 1 }));
    ref.tell(() => undefined);
    await expect(system.ask(ref, unanswered)).rejects.toThrow(MailboxFullError);
  });
});

/** No clock is advanced here: whoever waited for a timeout would wait for ever. */
describe('ask fails at once, without a timeout, when its target', () => {
  test('is stopped', async () => {
    const { system, clock } = actorHarness();
    const ref = system.spawn(scripted('a'));
    await system.stop(ref);
    await expect(system.ask(ref, unanswered, 1_000)).rejects.toEqual(new ActorGoneError('/a is gone'));
    expect(clock.pendingTimers).toBe(0);
  });

  test('is stopping', async () => {
    const { system } = actorHarness();
    const gate = deferred();
    const ref = system.spawn(scripted('a', { terminate: () => gate.promise }));
    const stopped = system.stop(ref);
    await expect(system.ask(ref, unanswered)).rejects.toThrow(ActorGoneError);
    gate.resolve();
    await stopped;
  });

  test('stops before it got to the question', async () => {
    const { system } = actorHarness();
    const ref = system.spawn(scripted('a'));
    const answer = system.ask<Step, void>(ref, () => () => expect.unreachable());
    const stopped = system.stop(ref);
    await expect(answer).rejects.toEqual(new ActorGoneError('/a ended before it answered'));
    await stopped;
    expect(system.stats.deadLetters).toBe(1);
  });

  test('begins to stop, however long its last words take', async () => {
    const { system } = actorHarness();
    const gate = deferred();
    const ref = system.spawn(scripted('a', { terminate: () => gate.promise }));
    const answer = system.ask(ref, unanswered);
    await settled(system, ref);
    const stopped = system.stop(ref);
    await expect(answer).rejects.toThrow(ActorGoneError);
    gate.resolve();
    await stopped;
  });

  test('crashes with questions unanswered, answered late, and unread', async () => {
    const { system, clock } = actorHarness();
    const ref = system.spawn(scripted('a'));
    let late: Reply<string> | undefined;
    const asks = [
      system.ask<Step, string>(ref, unanswered, 1_000),
      system.ask<Step, string>(
        ref,
        (reply) => () => {
          late = reply;
        },
        1_000,
      ),
      system.ask<Step, string>(
        ref,
        () => () => {
          throw new Error('boom');
        },
        1_000,
      ),
      system.ask<Step, string>(ref, (reply) => () => reply('never'), 1_000),
    ];
    const outcomes = await Promise.allSettled(asks);
    late?.('too late');
    expect(outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason)).toEqual(
      asks.map(() => new ActorGoneError('/a ended before it answered')),
    );
    expect(clock.pendingTimers).toBe(0);
  });

  test('fails to start', async () => {
    const { system } = actorHarness();
    let answer: Promise<unknown> | undefined;
    const init = (me: Parameters<Step>[0]) => {
      answer = system.ask(me.self, unanswered);
      throw new Error('boom');
    };
    expect(() => system.spawn(scripted('a', { init }))).toThrow('/a did not start');
    await expect(answer).rejects.toThrow(ActorGoneError);
  });
});

test('an answer given in the message that ends the actor still counts', async () => {
  const { system } = actorHarness();
  const ref = system.spawn(scripted('a'));
  const answer = system.ask<Step, string>(ref, (reply) => (me) => {
    me.stop();
    reply('last');
  });
  expect(await answer).toBe('last');
  await until(() => system.stats.live === 0);
});
