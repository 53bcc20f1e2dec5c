import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { allocatedBytes, allocatedBytesNow } from '../../src/workers/folder-size.ts';
import { temporaryFolder } from '../support/temp.ts';

const MB = 1024 * 1024;

it('counts what is allocated below a folder: not holes, not what links lead to', async () => {
  const folder = await temporaryFolder();
  const outside = await temporaryFolder();
  writeFileSync(join(outside, 'large'), Buffer.alloc(8 * MB, 1));
  mkdirSync(join(folder, 'spill', '1'), { recursive: true });
  writeFileSync(join(folder, 'spill', '1', 'file'), Buffer.alloc(2 * MB, 1));
  writeFileSync(join(folder, 'file'), Buffer.alloc(MB, 1));
  writeFileSync(join(folder, 'sparse'), '');
  truncateSync(join(folder, 'sparse'), 512 * MB);
  symlinkSync(outside, join(folder, 'link'));
  symlinkSync(join(outside, 'large'), join(folder, 'spill', 'link'));
  for (const bytes of [await allocatedBytes(folder), allocatedBytesNow(folder)]) {
    expect(bytes).toBeGreaterThanOrEqual(3 * MB);
    expect(bytes).toBeLessThan(4 * MB);
  }
});

it('is bounded in what it looks at', async () => {
  const folder = await temporaryFolder();
  for (let n = 0; n < 20; n += 1) writeFileSync(join(folder, `file-${n}`), Buffer.alloc(16_384, 1));
  const all = await allocatedBytes(folder);
  const some = await allocatedBytes(folder, 5);
  expect(some).toBeGreaterThan(0);
  expect(some).toBeLessThanOrEqual(all / 4);
});

it('of a folder that is not there is nothing', async () => {
  expect(await allocatedBytes('/nowhere/at/all')).toBe(0);
  expect(allocatedBytesNow('/nowhere/at/all')).toBe(0);
});
