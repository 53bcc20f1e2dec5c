// A lock between processes, as a file: its content names the owner, its time of change says the owner lives.
import { readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

const HEARTBEAT = 1_000;
/** A lock whose owner has not been heard of for this long is nobody's, wherever the owner ran. */
const ABANDONED = 15_000;
const POLL = 200;

/**
 * Runs `work` while holding the lock at `path`, after whoever holds it now. `onWait(pid)` is called once if that
 * takes waiting. The lock of a process that died is taken over, and is released when this process ends in any way
 * but SIGKILL.
 */
export async function withLock(path, work, onWait = () => {}) {
  let waiting = false;
  while (!tryLock(path)) {
    const owner = ownerOf(path);
    if (owner === undefined) continue;
    if (isAbandoned(path, owner)) {
      takeAway(path, owner);
      continue;
    }
    if (!waiting) onWait(owner.pid);
    waiting = true;
    await sleep(POLL);
  }
  const release = () => rmSync(path, { force: true });
  const heartbeat = setInterval(() => touch(path), HEARTBEAT);
  // An ordinary exit, so that whatever the work has started is ended by its own listeners.
  const onSignal = (_signal, number) => process.exit(128 + number);
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  process.on('exit', release);
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
    process.off('exit', release);
    release();
  }
}

function tryLock(path) {
  try {
    writeFileSync(path, JSON.stringify({ pid: process.pid, host: hostname() }), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    return false;
  }
}

/** Undefined when there is no lock any more; without a `pid` while its owner is still writing it. */
function ownerOf(path) {
  try {
    const { ino } = statSync(path);
    const text = readFileSync(path, 'utf8');
    return text === '' ? { ino } : { ...JSON.parse(text), ino };
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function isAbandoned(path, owner) {
  if (owner.pid !== undefined && owner.host === hostname() && !isAlive(owner.pid)) return true;
  const changed = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  return changed !== undefined && Date.now() - changed > ABANDONED;
}

/** Only one of several waiters may remove it, and only the lock it looked at: the removal has a lock of its own. */
function takeAway(path, owner) {
  const removal = `${path}.removal`;
  const changed = statSync(removal, { throwIfNoEntry: false })?.mtimeMs;
  if (changed !== undefined && Date.now() - changed > ABANDONED) rmSync(removal, { force: true });
  try {
    writeFileSync(removal, '', { flag: 'wx' });
  } catch (error) {
    if (error.code === 'EEXIST') return;
    throw error;
  }
  try {
    const now = ownerOf(path);
    if (now?.ino === owner.ino && now.pid === owner.pid) rmSync(path, { force: true });
  } finally {
    rmSync(removal, { force: true });
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function touch(path) {
  const now = new Date();
  try {
    utimesSync(path, now, now);
  } catch {
    // Removed by hand: the work goes on, and its steps are atomic each.
  }
}
