import { describe, expect, it } from 'vitest';
import { MemoryGauge } from '../../src/workers/memory-gauge.ts';

type State = 'starting' | 'idle' | 'busy';
const MB = 1_000_000;

/** A gauge of 1000 MB, and what it says of one reading after the other: time, state, resident set in MB. */
function read(readings: readonly (readonly [number, State, number])[]) {
  const gauge = new MemoryGauge(1_000 * MB);
  const said = readings.map(([now, state, mb]) =>
    gauge.note({ rssBytes: mb * MB, dataBytes: 2 * mb * MB }, state, now),
  );
  return { gauge, said };
}

describe('a memory gauge', () => {
  it('says that the limit is exceeded, at whatever the process is', () => {
    for (const state of ['starting', 'idle', 'busy'] as const) {
      const { said } = read([
        [0, state, 1_000],
        [100, state, 1_001],
      ]);
      expect(said).toEqual([undefined, 'exceeded']);
    }
  });

  it('keeps the last reading and the highest', () => {
    const { gauge } = read([
      [0, 'starting', 50],
      [100, 'busy', 700],
      [200, 'busy', 300],
    ]);
    expect(gauge.last).toEqual({ rssBytes: 300 * MB, dataBytes: 600 * MB });
    expect(gauge.peakBytes).toBe(700 * MB);
  });

  it('says once that a process with nothing to do has kept more than half of the room it had when it was new', () => {
    const { said } = read([
      [0, 'idle', 100],
      [100, 'busy', 900],
      [200, 'idle', 551],
      [1_100, 'idle', 551],
      [1_200, 'idle', 551],
      [2_200, 'idle', 551],
    ]);
    expect(said.map((word) => word ?? '-').join(' ')).toBe('- - - - swollen -');
  });

  it('leaves a process alone that has no more than half of its room, however small that is', () => {
    // New it holds 90 % of the limit: a successor would be no smaller.
    const { said } = read([
      [0, 'idle', 900],
      [100, 'busy', 950],
      [200, 'idle', 950],
      [9_999, 'idle', 950],
    ]);
    expect(said).toEqual([undefined, undefined, undefined, undefined]);
  });

  it('knows the size it had when new, though the first reading was of a query at work', () => {
    const { said } = read([
      [0, 'busy', 800],
      [100, 'idle', 100],
      [200, 'busy', 900],
      [300, 'idle', 700],
      [1_300, 'idle', 700],
    ]);
    expect(said.at(-1)).toBe('swollen');
  });

  it('gives the allocator time, and begins anew when memory came back in between', () => {
    const { said } = read([
      [0, 'idle', 100],
      [100, 'idle', 800],
      [900, 'idle', 300],
      [1_100, 'idle', 800],
      [2_000, 'idle', 800],
    ]);
    expect(said).not.toContain('swollen');
  });

  it('is not misled by queries in between: what counts is what is held between them', () => {
    const { said } = read([
      [0, 'idle', 100],
      [100, 'idle', 800],
      [600, 'busy', 900],
      [1_100, 'idle', 800],
    ]);
    expect(said.at(-1)).toBe('swollen');
  });
});
