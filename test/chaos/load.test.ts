/** The load of `duckcoop chaos`, and how it measures recovery. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LoadFactory } from '../../src/cli/chaos/load.ts';
import { RecoveryTimes } from '../../src/cli/chaos/recovery.ts';
import { LOAD_KINDS, type LoadKind } from '../../src/cli/chaos/statements.ts';
import { fingerprint } from '../../src/crashes/fingerprint.ts';

const SETTINGS = {
  ...{ run: 'chaos-1', pool: 'interactive', timeoutMs: 10_000, queueTimeoutMs: 5_000 },
  ...{ maxResult: 16_000_000, maxRetries: 1, faults: [] },
};
const KINDS = Object.keys(LOAD_KINDS) as LoadKind[];

function factory(faults: readonly ('oom' | 'disk-full')[] = []): LoadFactory {
  return new LoadFactory({ ...SETTINGS, faults }, Math.random);
}

it('no two statements have the same fingerprint, or the quarantine would end the load', () => {
  const loads = factory();
  const made = Array.from({ length: 500 }, () => loads.next());
  const sql = made.map(({ request }) => {
    const query = new URL(request.path, 'http://localhost').searchParams.get('sql');
    return String(query ?? request.body?.sql);
  });
  expect(new Set(sql.map((text) => fingerprint(text, []))).size).toBe(500);
  expect(new Set(made.map(({ expected }) => expected.queryId)).size).toBe(500);
});

it('every kind comes by chance', () => {
  const loads = factory();
  const kinds = new Set(Array.from({ length: 2_000 }, () => loads.next().kind));
  expect([...kinds].toSorted()).toEqual(KINDS.toSorted());
});

it('what asks for more time than the pool gives has the limits of the pool', () => {
  const { expected } = factory().make('point');
  expect(expected).toMatchObject({ timeoutMs: 10_000, queueTimeoutMs: 5_000, maxAttempts: 2 });
});

it('limits of memory and disk are earned by what uses them up, or where a fault does', () => {
  for (const kind of KINDS) {
    const { codes } = factory().make(kind).expected;
    expect([codes.has('MEMORY_LIMIT'), codes.has('DISK_LIMIT')]).toEqual(
      kind === 'spill' ? [true, true] : [false, false],
    );
    expect(codes.has('INTERNAL')).toBe(false);
    expect(codes.has('SQL_ERROR')).toBe(kind === 'sql-error');
    expect(codes.has('QUERY_CANCELLED')).toBe(kind === 'cancel');
    expect(factory(['oom']).make(kind).expected.codes.has('MEMORY_LIMIT')).toBe(true);
    expect(factory(['disk-full']).make(kind).expected.codes.has('DISK_LIMIT')).toBe(true);
  }
});

it('large results fit into one reply', () => {
  const loads = new LoadFactory({ ...SETTINGS, maxResult: 200_000 }, Math.random);
  for (let time = 0; time < 20; time += 1) {
    const result = loads.make('large').expected.result;
    const rows = Array.from({ length: result?.rows ?? 0 }, (_, index) => result?.row(index));
    expect(JSON.stringify(rows).length).toBeLessThan(200_000);
  }
});

it('each death is recovered from by the first success that comes after it', () => {
  const event = fc.record({ after: fc.nat(100), died: fc.boolean() });
  fc.assert(
    fc.property(fc.array(event), (events) => {
      const times = new RecoveryTimes();
      const expected: number[] = [];
      let open: number[] = [];
      let now = 0;
      for (const { after, died } of events) {
        now += after;
        if (died) {
          times.died(now);
          open.push(now);
          continue;
        }
        times.succeeded(now);
        const at = now;
        expected.push(...open.map((death) => at - death));
        open = [];
      }
      const sorted = expected.toSorted((one, other) => one - other);
      expect(times.summary()).toMatchObject({
        recovered: expected.length,
        open: open.length,
        max: sorted.at(-1) ?? 0,
        p50: sorted[Math.max(0, Math.ceil(sorted.length / 2) - 1)] ?? 0,
      });
    }),
  );
});
