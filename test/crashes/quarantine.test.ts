import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Quarantine, type QuarantineSettings, type StatementCrash } from '../../src/crashes/quarantine.ts';

const SETTINGS: QuarantineSettings = { crashes: 2, window: 100, for: 1_000 };
const EPOCH = 1_700_000_000_000;

let crashes = 0;
function crash(fingerprint: string, now: number, more: Partial<StatementCrash> = {}): StatementCrash {
  crashes += 1;
  const at = EPOCH + now;
  return {
    fingerprint,
    statement: 'select ?',
    crashId: `c${crashes}`,
    principal: 'p',
    pool: 'a',
    at,
    ...more,
  };
}

const quarantine = (settings: Partial<QuarantineSettings> = {}, capacity?: number) =>
  new Quarantine(() => ({ ...SETTINGS, ...settings }), capacity);

describe('a statement', () => {
  it('is held back from the crash on that is one too many', () => {
    const one = quarantine();
    expect(one.record(crash('f', 10, { crashId: 'x', principal: 'ann' }), 10)).toEqual({ evicted: [] });
    expect(one.find('f', 10)).toBeUndefined();
    expect(one.isEmpty).toBe(true);
    const { started } = one.record(crash('f', 50, { crashId: 'y', principal: 'bob', pool: 'b' }), 50);
    expect(started).toEqual({
      fingerprint: 'f',
      statement: 'select ?',
      crashIds: ['x', 'y'],
      principals: ['ann', 'bob'],
      pools: ['a', 'b'],
      firstCrashAt: EPOCH + 10,
      lastCrashAt: EPOCH + 50,
      since: EPOCH + 50,
      until: EPOCH + 1_050,
    });
    expect(one.find('f', 1_049)).toEqual(started);
    expect(one.find('other', 60)).toBeUndefined();
    expect(one.isEmpty).toBe(false);
  });

  it('is not, for crashes that lie further apart than the window', () => {
    const one = quarantine();
    for (let now = 0; now < 1_000; now += 100)
      expect(one.record(crash('f', now), now).started).toBeUndefined();
    expect(one.record(crash('f', 999), 999).started).toBeDefined();
  });

  it('is held back at its first crash where one is enough', () => {
    expect(quarantine({ crashes: 1 }).record(crash('f', 0), 0).started).toBeDefined();
  });

  it('is let go when its time is over, which is told once', () => {
    const one = quarantine({ crashes: 1 });
    one.record(crash('f', 0), 0);
    expect(one.expire(999)).toEqual([]);
    expect(one.find('f', 1_000)).toBeUndefined();
    expect(one.list(1_000)).toEqual([]);
    expect(one.expire(1_000)).toMatchObject([{ fingerprint: 'f' }]);
    expect(one.expire(1_000)).toEqual([]);
    expect(one.isEmpty).toBe(true);
  });

  it('is held back again at once while its crashes are in the window', () => {
    const one = quarantine({ window: 5_000 });
    one.record(crash('f', 0), 0);
    one.record(crash('f', 1), 1);
    one.expire(1_001);
    expect(one.record(crash('f', 1_002), 1_002).started).toBeDefined();
  });

  it('is held back no longer for a crash that comes late, of which the id is noted', () => {
    const one = quarantine();
    one.record(crash('f', 0, { crashId: 'x' }), 0);
    const { started } = one.record(crash('f', 1, { crashId: 'y' }), 1);
    expect(one.record(crash('f', 2, { crashId: 'z' }), 2).started).toBeUndefined();
    expect(one.find('f', 3)).toMatchObject({ until: started?.until, crashIds: ['x', 'y', 'z'] });
  });

  it('begins anew once it is lifted', () => {
    const one = quarantine({ window: 5_000 });
    one.record(crash('f', 0), 0);
    expect(one.lift('f', 0)).toBeUndefined();
    one.record(crash('f', 1), 1);
    expect(one.lift('f', 2)).toMatchObject({ fingerprint: 'f' });
    expect(one.lift('f', 2)).toBeUndefined();
    expect(one.find('f', 2)).toBeUndefined();
    expect(one.record(crash('f', 3), 3).started).toBeUndefined();
  });

  it('is held back as the settings of the moment say', () => {
    let settings = SETTINGS;
    const one = new Quarantine(() => settings);
    one.record(crash('f', 0), 0);
    settings = { crashes: 3, window: 100, for: 7 };
    expect(one.record(crash('f', 1), 1).started).toBeUndefined();
    expect(one.record(crash('f', 2), 2).started).toMatchObject({ until: EPOCH + 2 + 7 });
  });
});

it('all are lifted at once', () => {
  const one = quarantine();
  for (const fingerprint of ['f', 'g', 'f', 'g', 'h']) one.record(crash(fingerprint, 0), 0);
  expect(one.liftAll(1).map(({ fingerprint }) => fingerprint)).toEqual(['g', 'f']);
  expect(one.isEmpty).toBe(true);
  expect(one.record(crash('h', 1), 1).started).toBeUndefined();
});

describe('a client that sends ever new statements', () => {
  it('pushes out suspected ones, the quietest first, and none that is held back', () => {
    const one = quarantine({ window: 1e9, for: 1e9 }, 3);
    one.record(crash('bad', 0), 0);
    one.record(crash('bad', 0), 0);
    for (let index = 0; index < 1_000; index += 1) {
      expect(one.record(crash(`f${index}`, index), index).evicted).toEqual([]);
    }
    expect(one.find('bad', 1_000)).toBeDefined();
    expect(one.record(crash('f998', 1_000), 1_000).started).toBeDefined();
    expect(one.record(crash('f997', 1_000), 1_000).started).toBeUndefined();
  });

  it('pushes out what was held back for longest, and that is told', () => {
    const one = quarantine({ crashes: 1 }, 2);
    one.record(crash('f', 0), 0);
    one.record(crash('g', 0), 0);
    expect(one.record(crash('h', 0), 0)).toMatchObject({
      started: { fingerprint: 'h' },
      evicted: [{ fingerprint: 'f' }],
    });
    expect(one.list(0).map(({ fingerprint }) => fingerprint)).toEqual(['h', 'g']);
  });

  it('of one statement leaves no endless lists behind', () => {
    const one = quarantine();
    for (let index = 0; index < 500; index += 1) one.record(crash('f', 0, { principal: `p${index}` }), 0);
    const view = one.find('f', 0);
    expect(view?.crashIds).toHaveLength(20);
    expect(view?.principals).toEqual(Array.from({ length: 20 }, (_, index) => `p${480 + index}`));
    expect(view?.pools).toEqual(['a']);
  });
});

it('holds what a plain count of crashes in the window says, whatever the order of events', () => {
  const event = fc.record({ fingerprint: fc.constantFrom('a', 'b', 'c'), after: fc.nat(80) });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), fc.integer({ min: 1, max: 4 }), (events, needed) => {
      const one = quarantine({ crashes: needed, for: 150 });
      const history = new Map<string, number[]>();
      const until = new Map<string, number>();
      let now = 0;
      for (const { fingerprint, after } of events) {
        now += after;
        one.expire(now);
        const times = [...(history.get(fingerprint) ?? []).filter((at) => at > now - 100), now];
        history.set(fingerprint, times);
        const isHeld = (until.get(fingerprint) ?? 0) > now;
        const starts = !isHeld && times.length >= needed;
        if (starts) until.set(fingerprint, now + 150);
        expect(one.record(crash(fingerprint, now), now).started !== undefined).toBe(starts);
        for (const name of ['a', 'b', 'c']) {
          expect(one.find(name, now) !== undefined).toBe((until.get(name) ?? 0) > now);
        }
        expect(one.isEmpty).toBe(one.list(now).length === 0);
      }
    }),
  );
});
