/**
 * Faults a worker has when it is told to: how crash tests and chaos get a real death of a real process at a chosen step.
 * Obeyed only where the configuration allows chaos.
 */
import { execFileSync } from 'node:child_process';
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CONTROL_FD, type InjectedFault, type Phase, type StartFault } from './protocol.ts';

export interface FaultTarget {
  /** Goes silent: no heartbeat any more, everything else as before. */
  stopHeartbeat(): void;
  /** A sign of life from a thread that is busy. */
  beat(): void;
  closeChannel(): void;
  /** Believes from now on what it has once read of a source's tables. */
  keepStaleCatalogs(): void;
}

/** Waits for the worker to come to this point. */
interface ArmedFault {
  readonly fault: InjectedFault;
  readonly phase: Phase;
  /** Undefined for any statement. */
  readonly seq: number | undefined;
}

/** Longer than any start; shorter than the patience of a pool that has the default `start_timeout`. */
const SLOW_START_MS = 3_000;
/** Bytes of any one file from then on: enough for the flight recorder, too few for a block of spill. */
const FULL_DISK = 4_096;

export class Faults {
  readonly #target: FaultTarget;
  #armed: ArmedFault[] = [];

  constructor(target: FaultTarget) {
    this.#target = target;
  }

  /** Has the fault now, or once when the worker enters `phase`; with `seq`, when that statement does. */
  inject(fault: InjectedFault, phase: Phase | undefined, seq?: number): void {
    if (phase === undefined) this.#have(fault);
    else this.#armed.push({ fault, phase, seq });
  }

  /** Before a phase of statement `seq` begins. */
  entering(phase: Phase, seq?: number): void {
    const due = this.#armed.find((armed) => armed.phase === phase && (armed.seq ?? seq) === seq);
    if (due === undefined) return;
    this.#armed = this.#armed.filter((armed) => armed !== due);
    this.#have(due.fault);
  }

  /** Before anything of DuckDB is loaded. */
  async starting(fault: StartFault): Promise<void> {
    switch (fault) {
      case 'slow-start':
        await sleep(SLOW_START_MS);
        return;
      case 'crash-at-start':
        this.#have('sigsegv');
        return;
      default:
        fault satisfies never;
    }
  }

  #have(fault: InjectedFault): void {
    switch (fault) {
      case 'sigsegv':
        process.kill(process.pid, 'SIGSEGV');
        blockForEver();
        return;
      case 'sigabrt':
        process.kill(process.pid, 'SIGABRT');
        blockForEver();
        return;
      case 'sigkill':
        process.kill(process.pid, 'SIGKILL');
        blockForEver();
        return;
      case 'sigstop':
        process.kill(process.pid, 'SIGSTOP');
        return;
      case 'exit-0':
        process.exit(0);
        break;
      case 'exit':
      case 'exit-1':
        process.exit(1);
        break;
      case 'hang':
        blockForEver();
        return;
      case 'oom':
        takeAllMemory(() => this.#target.beat());
        break;
      case 'disk-full':
        fillDisk();
        return;
      case 'stale-catalogs':
        this.#target.keepStaleCatalogs();
        return;
      case 'channel-garbage':
        writeSync(CONTROL_FD, '{"type":"finished","seq":-1,\u0000 this is no message\n');
        return;
      case 'channel-close':
        this.#target.closeChannel();
        return;
      case 'heartbeat-loss':
        this.#target.stopHeartbeat();
        return;
      default:
        fault satisfies never;
    }
  }
}

/** The control thread does nothing any more, not even react to its channel's end. */
function blockForEver(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

/**
 * Takes memory outside of V8's heap, and touches it, until the process ends of that: by the parent, which sees it, or by
 * itself, when at its limit not even V8 gets any more. It is no silent death: native code allocates on threads of its own.
 */
function takeAllMemory(beat: () => void): never {
  const held: unknown[] = [];
  let bytes = 16 * 1024 * 1024;
  for (;;) {
    try {
      beat();
      held.push(Buffer.allocUnsafeSlow(bytes).fill(1));
    } catch {
      // What is left is in smaller pieces, and in the end in V8's own.
      if (bytes > 4_096) bytes /= 2;
      else held.push(new Array(1_000).fill(held.length));
    }
  }
}

/** From now on writes beyond the first bytes of a file fail (EFBIG), as they do on a disk that is full. */
function fillDisk(): void {
  try {
    execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${FULL_DISK}`], { stdio: 'ignore' });
  } catch (error) {
    process.stderr.write(`the fault disk-full needs prlimit (util-linux): ${(error as Error).message}\n`);
  }
}
