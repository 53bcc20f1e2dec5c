import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EventLog } from '../../src/telemetry/event-log.ts';
import { Events } from '../../src/telemetry/events.ts';

function logOf(count: number, keep = 1_000) {
  const events = new Events();
  const log = new EventLog({ events, run: 'run1', keep, now: () => 1_700_000_000_000 });
  const happen = (times: number) => {
    for (let time = 0; time < times; time += 1)
      events.emit('quarantine.ended', { fingerprint: 'a', why: 'lifted' });
  };
  happen(count);
  const numbers = (after: number, max = 10_000) => log.read(after, max)?.map(({ number }) => number);
  return { events, log, happen, numbers };
}

test('an event is one line of JSON with its type and its time', () => {
  const { log } = logOf(1);
  expect(log.read(0, 10)).toEqual([
    {
      number: 1,
      type: 'quarantine.ended',
      json: '{"type":"quarantine.ended","at":1700000000000,"fingerprint":"a","why":"lifted"}',
    },
  ]);
});

test('a new reader begins at the end', () => {
  const { log, happen, numbers } = logOf(3);
  expect(log.position(undefined)).toEqual({ after: 3, gap: undefined });
  expect(numbers(3)).toEqual([]);
  happen(2);
  expect(numbers(3)).toEqual([4, 5]);
});

test('a reader goes on behind the id it has seen last', () => {
  const { log } = logOf(3);
  expect(log.idOf(2)).toBe('run1-2');
  expect(log.position('run1-2')).toEqual({ after: 2, gap: undefined });
  expect(log.position('run1-3')).toEqual({ after: 3, gap: undefined });
});

test('a reader whose next event is gone is told how many are, and gets the rest', () => {
  const { log, numbers } = logOf(12, 5);
  expect(log.position('run1-7')).toEqual({ after: 7, gap: undefined });
  expect(log.position('run1-6')).toEqual({ after: 7, gap: { lost: 1 } });
  expect(log.position('0')).toEqual({ after: 7, gap: { lost: 7 } });
  expect(numbers(7)).toEqual([8, 9, 10, 11, 12]);
  expect(numbers(6)).toBeUndefined();
});

test('0 is before the first event, and no gap while that is kept', () => {
  expect(logOf(3).log.position('0')).toEqual({ after: 0, gap: undefined });
  expect(logOf(0).log.position('0')).toEqual({ after: 0, gap: undefined });
});

test.each([
  'run0-2',
  'run1-4',
  '2',
  '',
  'run1-',
  'run1--1',
  'run1-2 ',
  'x\u0000-1',
  'run1-9999999999999999999',
])(
  'an id that this run has not given out (%j) is of another run: all that is kept, behind a gap of unknown size',
  (id) => {
    expect(logOf(3).log.position(id)).toEqual({ after: 0, gap: { lost: undefined } });
    expect(logOf(12, 5).log.position(id)).toEqual(
      id === 'run1-4' ? { after: 7, gap: { lost: 3 } } : { after: 7, gap: { lost: undefined } },
    );
  },
);

test('whoever subscribes hears of each event until it has had enough', () => {
  const { log, happen } = logOf(1);
  let heard = 0;
  const end = log.subscribe(() => {
    heard += 1;
  });
  happen(2);
  end();
  happen(2);
  expect(heard).toBe(2);
});

test('a closed log takes no more events', () => {
  const { log, happen } = logOf(2);
  log.close();
  happen(3);
  expect(log.last).toBe(2);
});

test('for every history, whoever comes back gets each event once, in order, or is told exactly how many are gone', () => {
  const step = fc.record({
    happen: fc.nat(12),
    read: fc.integer({ min: 1, max: 8 }),
    comesBack: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10 }), fc.array(step, { maxLength: 30 }), (keep, steps) => {
      const { log, happen } = logOf(0, keep);
      let { after } = log.position('0');
      let accounted = 0;
      for (const { happen: count, read, comesBack } of steps) {
        happen(count);
        const behind = log.read(after, read) === undefined;
        if (behind || comesBack) {
          const { after: next, gap } = log.position(log.idOf(after));
          expect(gap !== undefined).toBe(behind);
          accounted += gap?.lost ?? 0;
          after = next;
        }
        const events = log.read(after, read) ?? [];
        expect(events.map(({ number }) => number)).toEqual(events.map((_, index) => after + 1 + index));
        accounted += events.length;
        after += events.length;
        expect(accounted).toBe(after);
      }
    }),
  );
});
