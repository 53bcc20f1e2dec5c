import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CrashIds, isCrashId, timeOfCrashId } from '../../src/crashes/crash-id.ts';
import { type CrashReport, crashReport } from '../../src/crashes/crash-report.ts';
import { type CrashFilter, CrashStore, type CrashStoreOptions } from '../../src/crashes/crash-store.ts';
import { Redactor } from '../../src/crashes/redact.ts';
import { temporaryFolder } from '../support/temp.ts';
import { death } from './deaths.ts';

const EPOCH = Date.UTC(2024, 0, 31, 12);
const DAY = 86_400_000;
const ALL: CrashFilter = {
  limit: 1_000,
  before: undefined,
  pool: undefined,
  cause: undefined,
  principal: undefined,
  fingerprint: undefined,
};

const ids = new CrashIds();

function report(at = EPOCH, more: Partial<CrashReport> = {}): CrashReport {
  const crashId = ids.next(at);
  const versions = { duckcoop: '1', node: 'v20' };
  const context = { crashId, at, fingerprint: 'f', includeSql: false, redactor: new Redactor(), versions };
  return { ...crashReport(death(), context), ...more };
}

async function open(options: Partial<CrashStoreOptions> = {}) {
  const folder = options.folder ?? join(await temporaryFolder(), 'crashes');
  const faults: unknown[] = [];
  const store = await CrashStore.open({
    folder,
    settings: () => ({ keep: 200, max_age: 30 * DAY }),
    wallClock: () => EPOCH,
    onFault: (error) => faults.push(error),
    ...options,
  });
  return { store, folder, faults };
}

const idsOf = (store: CrashStore) => store.list(ALL).crashes.map(({ crash_id }) => crash_id);
const modeOf = (path: string) => statSync(path).mode & 0o777;

describe('an id of a crash', () => {
  it('says when, in UTC', () => {
    const id = new CrashIds().next(EPOCH + 7);
    expect(id).toMatch(/^20240131T120000007Z-[0-9a-f]{8}$/);
    expect(timeOfCrashId(id)).toBe(EPOCH + 7);
    expect(timeOfCrashId('something')).toBeNaN();
  });

  it('sorts behind the one before, whatever the clock does', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1_000 }), { minLength: 2 }), (times) => {
        const made = new CrashIds();
        const all = times.map((time) => made.next(EPOCH + time));
        expect(all.toSorted()).toEqual(all);
        expect(all.every(isCrashId)).toBe(true);
      }),
    );
  });
});

describe('a report', () => {
  it('is listed at once, and in a private file behind', async () => {
    const { store, folder, faults } = await open();
    const one = report();
    store.add(one);
    expect(idsOf(store)).toEqual([one.crash_id]);
    expect(await store.get(one.crash_id)).toEqual(one);
    await store.close();
    expect(readdirSync(folder)).toEqual([`${one.crash_id}.json`]);
    expect(JSON.parse(readFileSync(join(folder, `${one.crash_id}.json`), 'utf8'))).toEqual(one);
    expect(modeOf(folder)).toBe(0o700);
    expect(modeOf(join(folder, `${one.crash_id}.json`))).toBe(0o600);
    expect(await store.get(one.crash_id)).toEqual(one);
    expect(faults).toEqual([]);
  });

  it('is there after a restart, in its place', async () => {
    const { store, folder } = await open();
    const reports = [report(EPOCH - 2), report(EPOCH - 1), report(EPOCH)];
    for (const one of reports) store.add(one);
    await store.close();
    const { store: next } = await open({ folder });
    expect(next.list(ALL)).toEqual({ crashes: store.list(ALL).crashes, next: undefined });
    expect(await next.get(reports[1]?.crash_id ?? '')).toEqual(reports[1]);
    expect(idsOf(next)).toEqual(reports.map(({ crash_id }) => crash_id).reverse());
  });

  it('that is one too many from the start, by a clock that was set back, keeps no later one from its file', async () => {
    const { store, folder } = await open({ settings: () => ({ keep: 2, max_age: 30 * DAY }) });
    for (const one of [report(EPOCH), report(EPOCH + 1)]) store.add(one);
    await store.close();
    const atOnce = (at: number) => report(EPOCH, { crash_id: new CrashIds().next(at), at });
    store.add(atOnce(EPOCH - DAY));
    await store.close();
    const later = atOnce(EPOCH + DAY);
    store.add(later);
    await store.close();
    expect(readdirSync(folder)).toContain(`${later.crash_id}.json`);
  });

  it('that has gone from the disk has gone', async () => {
    const { store, folder } = await open();
    const one = report();
    store.add(one);
    await store.close();
    await rm(join(folder, `${one.crash_id}.json`));
    expect(await store.get(one.crash_id)).toBeUndefined();
    expect(idsOf(store)).toEqual([]);
  });

  it.each(['../../etc/passwd', '', 'x', '..'])('is not asked of the disk by any name: %j', async (name) => {
    const { store } = await open();
    expect(await store.get(name)).toBeUndefined();
  });
});

describe('a listing', () => {
  it('goes on where it ended, though what it ended at is gone', async () => {
    let keep = 100;
    const { store } = await open({ settings: () => ({ keep, max_age: DAY }) });
    const all = Array.from({ length: 7 }, (_, index) => report(EPOCH + index)).reverse();
    for (const one of all) store.add(one);
    const pages: string[][] = [];
    let before: string | undefined;
    do {
      const page = store.list({ ...ALL, limit: 3, before });
      pages.push(page.crashes.map(({ crash_id }) => crash_id));
      before = page.next;
    } while (before !== undefined);
    expect(pages.map(({ length }) => length)).toEqual([3, 3, 1]);
    expect(pages.flat()).toEqual(all.map(({ crash_id }) => crash_id));
    keep = 2;
    expect(store.list({ ...ALL, before: pages[1]?.[2] }).crashes).toEqual([]);
    await store.close();
  });

  it('is filtered', async () => {
    const { store } = await open();
    store.add(report(EPOCH, { pool: 'a', cause: 'killed', principal: 'ann', fingerprint: 'f' }));
    store.add(report(EPOCH, { pool: 'b', cause: 'crash', principal: 'bob', fingerprint: 'g' }));
    const count = (filter: Partial<CrashFilter>) => store.list({ ...ALL, ...filter }).crashes.length;
    expect([
      count({}),
      count({ pool: 'a' }),
      count({ cause: 'crash' }),
      count({ pool: 'a', cause: 'crash' }),
    ]).toEqual([2, 1, 1, 0]);
    expect([count({ principal: 'bob' }), count({ fingerprint: 'f' }), count({ fingerprint: 'h' })]).toEqual([
      1, 1, 0,
    ]);
    await store.close();
  });
});

describe('of many reports', () => {
  it('the newest are kept, in memory and on disk', async () => {
    const { store, folder } = await open({ settings: () => ({ keep: 3, max_age: DAY }) });
    const all = Array.from({ length: 20 }, (_, index) => report(EPOCH + index));
    for (const one of all) store.add(one);
    const newest = all.slice(-3).map(({ crash_id }) => crash_id);
    expect(idsOf(store)).toEqual(newest.toReversed());
    await store.close();
    expect(readdirSync(folder)).toEqual(newest.map((id) => `${id}.json`));
  });

  it('those that are too old are not shown, and swept at the start and behind a write', async () => {
    let now = EPOCH;
    const wallClock = () => now;
    const { store, folder } = await open({ wallClock });
    const [old, young] = [report(EPOCH), report(EPOCH + 29 * DAY)];
    store.add(old);
    store.add(young);
    await store.close();
    now = EPOCH + 31 * DAY;
    expect(idsOf(store)).toEqual([young.crash_id]);
    expect(existsSync(join(folder, `${old.crash_id}.json`))).toBe(true);
    await open({ folder, wallClock });
    expect(readdirSync(folder)).toEqual([`${young.crash_id}.json`]);
    now = EPOCH + 60 * DAY;
    const last = report(now);
    store.add(last);
    await store.close();
    expect(readdirSync(folder)).toEqual([`${last.crash_id}.json`]);
  });
});

describe('in the folder', () => {
  it('what is not ours is neither read nor removed', async () => {
    const folder = join(await temporaryFolder(), 'crashes');
    mkdirSync(folder);
    const foreign = ['notes.txt', '.hidden', 'core.1234', 'x.json', '20240131T120000000Z-0000000g.json'];
    for (const name of foreign) writeFileSync(join(folder, name), '{}');
    const { store, faults } = await open({ folder, settings: () => ({ keep: 1, max_age: 1 }) });
    store.add(report());
    await store.close();
    expect(readdirSync(folder)).toEqual(expect.arrayContaining(foreign));
    expect(faults).toEqual([]);
  });

  it('what is broken is skipped, and goes when its time has come', async () => {
    const folder = join(await temporaryFolder(), 'crashes');
    mkdirSync(folder);
    const name = (digit: number) => join(folder, `20240130T120000000Z-0000000${digit}.json`);
    writeFileSync(name(0), '{"crash_id":');
    writeFileSync(name(1), JSON.stringify({ ...report(), crash_id: 'another' }));
    writeFileSync(name(2), Buffer.alloc(2_000_000, ' '));
    mkdirSync(name(3));
    symlinkSync('/etc/hostname', name(4));
    execFileSync('mkfifo', [name(5)]);
    writeFileSync(name(6), JSON.stringify({ crash_id: '20240130T120000000Z-00000006', at: 'noon' }));
    const { store, faults } = await open({ folder });
    expect(idsOf(store)).toEqual([]);
    // Those that are no files are none of ours.
    expect(faults).toHaveLength(4);
    expect(readdirSync(folder)).toHaveLength(7);

    const one = report();
    const { store: next } = await open({ folder, settings: () => ({ keep: 1, max_age: DAY / 4 }) });
    next.add(one);
    await next.close();
    expect(readdirSync(folder)).toEqual([
      ...[3, 4, 5].map((digit) => basename(name(digit))),
      `${one.crash_id}.json`,
    ]);
  });

  it('temporary files of those that died in the middle are removed, and no others', async () => {
    const folder = join(await temporaryFolder(), 'crashes');
    mkdirSync(folder);
    const [left, fresh] = ['.20240130T120000000Z-00000000.77.tmp', '.20240130T120000000Z-00000001.78.tmp'];
    for (const name of [left, fresh]) writeFileSync(join(folder, name), '');
    utimesSync(join(folder, left), (EPOCH - DAY) / 1_000, (EPOCH - DAY) / 1_000);
    utimesSync(join(folder, fresh), EPOCH / 1_000, EPOCH / 1_000);
    await open({ folder });
    expect(readdirSync(folder)).toEqual([fresh]);
  });
});

describe('a disk that takes nothing', () => {
  it('is a fault each time, and the reports stay in memory', async () => {
    const parent = await temporaryFolder();
    writeFileSync(join(parent, 'file'), '');
    // Not by its mode, which binds nobody who runs as root.
    const { store, faults } = await open({ folder: join(parent, 'file', 'crashes') });
    const before = faults.length;
    const one = report();
    store.add(one);
    await store.close();
    expect(before).toBeGreaterThan(0);
    expect(faults.length).toBeGreaterThan(before);
    expect(idsOf(store)).toEqual([one.crash_id]);
    expect(await store.get(one.crash_id)).toEqual(one);
  });

  it('is used again as soon as it takes something', async () => {
    const parent = await temporaryFolder();
    const folder = join(parent, 'crashes');
    writeFileSync(folder, 'in the way');
    const { store } = await open({ folder });
    store.add(report());
    await store.close();
    await rm(folder);
    const one = report();
    store.add(one);
    await store.close();
    expect(readdirSync(folder)).toEqual([`${one.crash_id}.json`]);
  });
});

it('a folder that others could read is closed to them', async () => {
  const folder = join(await temporaryFolder(), 'crashes');
  mkdirSync(folder);
  chmodSync(folder, 0o755);
  await open({ folder });
  expect(modeOf(folder)).toBe(0o700);
});
