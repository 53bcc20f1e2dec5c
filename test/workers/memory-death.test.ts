import { expect, it } from 'vitest';
import { diedOfMemory, saysOutOfMemory } from '../../src/workers/memory-death.ts';

const at = (dataBytes: number) => ({ rssBytes: dataBytes / 2, dataBytes });
const died = (settings: Partial<Parameters<typeof diedOfMemory>[0]>) =>
  diedOfMemory({
    signal: 'SIGABRT',
    exitCode: undefined,
    fellSilent: false,
    saidSo: false,
    memory: at(100),
    limit: 1_000,
    ...settings,
  });

it('an abort with a line that says so is a death of memory, wherever the last reading stood', () => {
  expect(died({ saidSo: true })).toBe(true);
  expect(died({ saidSo: true, memory: undefined })).toBe(true);
  expect(died({ saidSo: true, signal: 'SIGTRAP' })).toBe(true);
  expect(died({ saidSo: true, signal: undefined, exitCode: 1 })).toBe(true);
});

it('an abort close to the limit is one though nothing was said, since libuv aborts in silence', () => {
  expect(died({ memory: at(900) })).toBe(true);
  expect(died({ memory: at(800) })).toBe(false);
  expect(died({ memory: undefined })).toBe(false);
});

it('silence close to the limit is one, and elsewhere it is what it is', () => {
  expect(died({ signal: 'SIGKILL', fellSilent: true, memory: at(900) })).toBe(true);
  expect(died({ signal: 'SIGKILL', fellSilent: true, memory: at(800) })).toBe(false);
});

it('what a statement can bring about by itself is none', () => {
  expect(died({})).toBe(false);
  expect(died({ signal: 'SIGSEGV', saidSo: true, memory: at(1_000) })).toBe(false);
  expect(died({ signal: 'SIGKILL', saidSo: true, memory: at(1_000) })).toBe(false);
  expect(died({ signal: undefined, exitCode: 1, memory: at(1_000) })).toBe(false);
  expect(died({ signal: undefined, exitCode: 0, saidSo: true })).toBe(false);
});

it.each([
  "terminate called after throwing an instance of 'std::bad_alloc'",
  'libc++abi: terminating due to uncaught exception of type std::bad_alloc: std::bad_alloc',
  'FATAL ERROR: Committing semi space failed. Allocation failed - JavaScript heap out of memory',
  'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory',
  'FATAL ERROR: Zone Allocation failed - process out of memory',
  '# Fatal process out of memory: Zone',
  '# Fatal JavaScript out of memory: Reached heap limit',
  'RangeError: Array buffer allocation failed',
  'RangeError [ERR_MEMORY_ALLOCATION_FAILED]: Failed to allocate memory',
])('%s', (line) => {
  expect(saysOutOfMemory(line)).toBe(true);
});

it.each([
  "terminate called after throwing an instance of 'std::runtime_error'",
  "SELECT 'terminate called after throwing an instance of ''std::bad_alloc'''",
  'Error: FATAL ERROR: heap out of memory',
  'FATAL ERROR: v8::ToLocalChecked Empty MaybeLocal',
  '  what():  std::bad_alloc',
  '',
])('is not: %s', (line) => {
  expect(saysOutOfMemory(line)).toBe(false);
});
