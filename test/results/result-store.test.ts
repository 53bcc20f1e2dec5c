/** Files of kept results on a real disk, with time that passes when the test says so. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { ResultStore } from '../../src/results/result-store.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { temporaryFolder } from '../support/temp.ts';

async function scene(settings = { retention: 1_000, disk_limit: 100 }) {
  const dataDir = await temporaryFolder();
  const clock = new ManualClock();
  const faults: unknown[] = [];
  const options = {
    dataDir,
    settings: () => settings,
    clock,
    wallClock: () => 5_000,
    onFault: (e: unknown) => faults.push(e),
  };
  const store = await ResultStore.open(options);
  onTestFinished(async () => {
    await store.close();
    expect(readdirSync(join(dataDir, 'results'))).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
    expect(faults).toEqual([]);
  });
  const kept = (bytes: number) => {
    const result = store.begin();
    writeFileSync(result.path, 'x'.repeat(bytes));
    return { result, refusal: result.keep(bytes) };
  };
  const gone = (path: string) => vi.waitFor(() => expect(existsSync(path)).toBe(false));
  return { dataDir, options, clock, store, kept, gone };
}

test('a result is kept for its time, and not a moment longer', async () => {
  const { clock, kept, gone } = await scene();
  const { result } = kept(10);
  expect([result.state, result.expiresAt]).toEqual(['kept', 6_000]);
  clock.advance(999);
  expect(result.state).toBe('kept');
  clock.advance(1);
  expect([result.state, result.open(), result.expiresAt]).toEqual(['dropped', undefined, undefined]);
  await gone(result.path);
});

test('whoever reads a result has it to the end, though its time is over', async () => {
  const { clock, store, kept, gone } = await scene();
  const { result } = kept(10);
  const [first, second] = [result.open(), result.open()];
  clock.advance(1_000);
  expect(result.open()).toBeUndefined();
  first?.();
  first?.();
  expect([existsSync(result.path), store.usedBytes]).toEqual([true, 10]);
  second?.();
  await gone(result.path);
  await vi.waitFor(() => expect(store.usedBytes).toBe(0));
});

test('there is so much room and no more, and it comes back', async () => {
  const { store, kept, gone } = await scene();
  const { result } = kept(60);
  // Both are begun with the same room; the one that is done last has it no more.
  const [one, other] = [store.begin(), store.begin()];
  expect([one.maxBytes, other.maxBytes]).toEqual([40, 40]);
  expect(one.keep(40)).toBeUndefined();
  expect(other.keep(40)).toMatchObject({ code: 'DISK_LIMIT', members: { limit: 100, used: 140 } });
  expect(() => store.begin()).toThrow('no room');
  result.drop();
  await gone(result.path);
  await vi.waitFor(() => expect(store.usedBytes).toBe(40));
  expect(store.begin().maxBytes).toBe(60);
});

test('an attempt that is void leaves the next one an empty folder at the same path', async () => {
  const { store, dataDir, kept } = await scene();
  const result = store.begin();
  writeFileSync(result.path, 'half');
  writeFileSync(`${result.path}.wal`, 'of it');
  result.reset();
  expect([existsSync(result.path), existsSync(`${result.path}.wal`)]).toEqual([false, false]);
  writeFileSync(result.path, 'whole');
  expect(result.keep(5)).toBeUndefined();
  result.reset();
  expect(existsSync(result.path)).toBe(true);
  kept(1);
  const own = join(dataDir, 'results', readdirSync(join(dataDir, 'results'))[0] ?? '');
  await vi.waitFor(() => expect(readdirSync(own).toSorted()).toEqual(['1', '2']));
});

test('what a server that was killed has left is wiped by the next', async () => {
  const { dataDir, options } = await scene();
  const [own = ''] = readdirSync(join(dataDir, 'results'));
  const namespace = own.split('-')[2];
  // No process has that id: it is past the most there can be (proc(5), pid_max).
  const left = join(dataDir, 'results', `99999999-1-${namespace}`, '1');
  await mkdir(left, { recursive: true });
  writeFileSync(join(left, 'result.duckdb'), 'x');
  await ResultStore.open(options);
  expect(readdirSync(join(dataDir, 'results'))).toEqual([own]);
});
