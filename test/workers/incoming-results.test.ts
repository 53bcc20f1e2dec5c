/** Results as the parent takes them, where the order in which it hears of things is the rare one. */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readdirSync, readlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { IncomingResults } from '../../src/workers/incoming-results.ts';
import type { Finished } from '../../src/workers/protocol.ts';
import { temporaryFolder } from '../support/temp.ts';

async function made() {
  const path = join(await temporaryFolder(), 'result');
  execFileSync('mkfifo', [path]);
  const told: unknown[] = [];
  const results = new IncomingResults({
    bytes: (seq, bytes) => told.push([seq, Buffer.from(bytes).toString()]),
    finished: ({ seq, bytes }) => told.push(['finished', seq, bytes]),
    send: ({ type, seq }) => told.push([type, seq]),
    broken: (error) => told.push(['broken', error.message]),
  });
  results.expect(1);
  const open = () =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`) === path;
      } catch {
        return false;
      }
    }).length;
  return { path, told, results, open };
}

const verdict: Finished = {
  type: 'finished',
  seq: 1,
  verdict: { ok: true, rows: 1, truncated: false },
  bytes: 0,
  runMs: 1,
  peakMemoryBytes: 1,
};

test('a pipe that is heard of after its process was gone is not opened, and is no fault', async () => {
  const { path, told, results, open } = await made();
  results.exited();
  results.openPipe(path, 1);
  results.endPipe(1);
  expect([open(), told]).toEqual([0, []]);
});

test('what is in the pipe when its writer is done, or dead, is taken, and the pipe is closed', async () => {
  for (const end of ['endPipe', 'exited'] as const) {
    const { path, told, results, open } = await made();
    results.openPipe(path, 1);
    results.pause();
    const fd = openSync(path, constants.O_WRONLY);
    writeSync(fd, 'abc');
    closeSync(fd);
    results[end](1);
    if (end === 'endPipe') results.verdict(verdict);
    expect(open()).toBe(0);
    const rest =
      end === 'endPipe'
        ? [
            ['taken', 1],
            ['finished', 1, 3],
          ]
        : [];
    expect(told).toEqual([['flowing', 1], [1, 'abc'], ...rest]);
  }
});

test('a verdict closes the pipe of a call that was left behind', async () => {
  const { path, told, results, open } = await made();
  results.openPipe(path, 1);
  results.verdict(verdict);
  expect([open(), told]).toEqual([0, [['finished', 1, 0]]]);
});

test('nothing is heard of a worker that broke the protocol', async () => {
  const { path, told, results } = await made();
  results.openPipe(path, 1);
  results.ignore();
  const fd = openSync(path, constants.O_WRONLY);
  writeSync(fd, 'abc');
  closeSync(fd);
  results.exited();
  expect(told).toEqual([]);
});
