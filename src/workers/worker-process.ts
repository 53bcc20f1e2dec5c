/**
 * A worker process as its parent sees it: started, spoken to, and, whatever happens, ended.
 *
 * ```
 *             ready                    stop                      exit + both pipes closed
 *  starting ---------> ready ------------------> stopping ---------------------------------> exited
 *      |                 |                           ^                                          ^
 *      |                 |  kill                     | kill                                     |
 *      +-----------------+---------> killing --------+------------------------------------------+
 * ```
 *
 * The exit of the process is the only truth about its death, and it is told once, after everything the process had
 * written before has been read and its run folder has been wiped.
 */
import type { ChildProcess } from 'node:child_process';
import { dirname } from 'node:path';
import type { Duplex, Readable } from 'node:stream';
import { ControlChannel, ProtocolError } from './control-channel.ts';
import { type FlightRecord, readFlightRecord, UNREADABLE } from './flight-recorder.ts';
import { IncomingResults } from './incoming-results.ts';
import { launch } from './launch.ts';
import { diskQuota, type Exceeded } from './limits.ts';
import { diedOfMemory, saysOutOfMemory } from './memory-death.ts';
import type { MemoryReading } from './process-memory.ts';
import {
  CONTROL_FD,
  type Configure,
  DATA_FD,
  decodeWorkerMessage,
  type Finished,
  type InjectedFault,
  type ParentMessage,
  type Phase,
  PROTOCOL_VERSION,
  type Progress,
  type Ready,
  type Run,
  type WorkerMessage,
} from './protocol.ts';
import { ResourceWatch } from './resource-watch.ts';
import { resultPipe } from './result-pipe.ts';
import type { RunFolders } from './run-folder.ts';
import { SentSecrets } from './sent-secrets.ts';

/** Why we killed a worker; `undefined` in a {@link WorkerExit} nobody here asked for. */
export type KillReason =
  | 'timeout'
  | 'cancelled'
  | 'unresponsive'
  | 'protocol'
  | 'start-timeout'
  | 'memory'
  | 'disk'
  | 'recycled'
  | 'shutdown';

/** How a worker process ended. */
export interface WorkerExit {
  readonly pid: number | undefined;
  readonly signal: string | undefined;
  readonly exitCode: number | undefined;
  /** What we killed it for, if we did. */
  readonly killedFor: KillReason | undefined;
  /** The limit it ended at: by our SIGKILL, or because it could get no more memory and aborted. */
  readonly exceeded: Exceeded | undefined;
  /** Bytes of its resident set when it was last looked at, and the most at any look; undefined where nobody could look. */
  readonly memoryBytes: number | undefined;
  readonly peakMemoryBytes: number | undefined;
  /** True when it was asked to stop and did, or was not even started yet. */
  readonly stopped: boolean;
  /** What it was at when it died. */
  readonly flight: FlightRecord;
  /** The last lines of its stderr, oldest first. */
  readonly lastLines: readonly string[];
  /** What went wrong, where the worker or the protocol said so. */
  readonly detail: string | undefined;
  /** It said that its session's workspace cannot be opened. */
  readonly damagedWorkspace?: boolean;
}

export interface WorkerProcessEvents {
  ready(versions: Ready): void;
  finished(result: Finished): void;
  withdrawn(seq: number): void;
  /** Where a statement is that takes its time. */
  progress(progress: Progress): void;
  /** Result bytes of statement `seq`; views, to be kept or copied by whoever gets them. */
  bytes(seq: number, bytes: Uint8Array): void;
  /** Memory that it took does not come back: it wants a successor. At most once. */
  swollen(): void;
  /** Once, last: the process is gone and so is its folder. */
  exit(exit: WorkerExit): void;
}

export interface WorkerProcessOptions {
  readonly worker: string;
  readonly incarnation: number;
  readonly main: string;
  readonly folders: RunFolders;
  readonly configure: Omit<Configure, 'type' | 'version' | 'worker' | 'folder'>;
  readonly startTimeoutMs: number;
  readonly heartbeatTimeoutMs: number;
}

type State = 'starting' | 'ready' | 'stopping' | 'killing' | 'exited';

const TRANSITIONS: Record<State, readonly State[]> = {
  starting: ['ready', 'stopping', 'killing', 'exited'],
  ready: ['stopping', 'killing', 'exited'],
  stopping: ['killing', 'exited'],
  killing: ['exited'],
  exited: [],
};

/** Long enough for any control message a worker sends: an error text is cut before that. */
const MAX_LINE = 4 * 1024 * 1024;
const LAST_LINES = 40;
/** What the process wrote before it died is read from its pipes; a pipe that somebody else holds open is not waited for. */
const PIPE_GRACE_MS = 1_000;

export class WorkerProcess {
  readonly #options: WorkerProcessOptions;
  readonly #events: WorkerProcessEvents;
  readonly #stderr: string[] = [];
  readonly #secrets = new SentSecrets();
  #state: State = 'starting';
  #child: ChildProcess | undefined;
  #control: ControlChannel<WorkerMessage, ParentMessage> | undefined;
  #folder: string | undefined;
  #killedFor: KillReason | undefined;
  #detail: string | undefined;
  #damagedWorkspace = false;
  #exceeded: Exceeded | undefined;
  #saidOutOfMemory = false;
  #watch: ResourceWatch | undefined;
  #startTimer: NodeJS.Timeout | undefined;
  #heartbeatTimer: NodeJS.Timeout | undefined;
  readonly #results: IncomingResults;
  #isBroken = false;
  #heardSinceCheck = true;
  #silentChecks = 0;

  /** Starts the process. Every outcome, a failed start too, arrives as an event. */
  constructor(options: WorkerProcessOptions, events: WorkerProcessEvents) {
    this.#options = options;
    this.#events = events;
    this.#results = new IncomingResults({
      bytes: (seq, bytes) => events.bytes(seq, bytes),
      finished: (result) => events.finished(result),
      send: (message) => this.#control?.send(message),
      broken: (error) => this.#broken(error),
    });
    void this.#start();
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** The latest reading of what it holds, at most a second old while it lives. */
  get memory(): MemoryReading | undefined {
    return this.#watch?.memory;
  }

  /** Sends a statement; they run in the order they are sent. */
  run(statement: Omit<Run, 'type'>): void {
    this.#results.expect(statement.seq);
    if (statement.attachments.length > 0) this.#secrets.add(statement.attachments);
    this.#control?.send({ type: 'run', ...statement });
  }

  /** Asks DuckDB to stop the running statement, if it is `seq`. Its verdict says whether it did. */
  interrupt(seq: number): void {
    this.#control?.send({ type: 'interrupt', seq });
  }

  /** Takes a statement back that has not begun; answered by `withdrawn`, or by its verdict if it had. */
  withdraw(seq: number): void {
    this.#control?.send({ type: 'withdraw', seq });
  }

  /** Chaos: the worker has the fault, at once or when it next enters `phase`; with `seq`, when that statement does. */
  injectFault(fault: InjectedFault, phase?: Phase, seq?: number): void {
    this.#control?.send({
      type: 'fault',
      fault,
      ...(phase === undefined ? {} : { phase }),
      ...(seq === undefined ? {} : { seq }),
    });
  }

  /**
   * Reads no more result bytes until {@link resume}: the process waits in its write. One statement at a time has a result, so
   * no other one is held up. What a process that has died wrote before is read in any case.
   */
  pause(): void {
    this.#results.pause();
  }

  resume(): void {
    this.#results.resume();
  }

  /** Asks the process to end. It may not: the caller holds the clock, and {@link kill} is certain. */
  stop(): void {
    if (this.#state === 'stopping' || this.#state === 'killing' || this.#state === 'exited') return;
    this.#to('stopping');
    this.#control?.send({ type: 'shutdown' });
  }

  /** Ends the process with SIGKILL. The first reason given stands. */
  kill(reason: KillReason): void {
    if (this.#state === 'killing' || this.#state === 'exited') return;
    this.#to('killing');
    this.#killedFor = reason;
    this.#child?.kill('SIGKILL');
  }

  get #diskQuota(): number {
    const { tempLimit, workspace } = this.#options.configure;
    return diskQuota(tempLimit, workspace === undefined ? 'spill' : 'workspace');
  }

  async #start(): Promise<void> {
    try {
      this.#folder = await this.#options.folders.create(this.#options.worker, this.#options.incarnation);
      if (this.#state !== 'starting') return await this.#ended(undefined, undefined);
      this.#spawn(this.#folder);
    } catch (error) {
      this.#detail = `could not start: ${error instanceof Error ? error.message : String(error)}`;
      await this.#ended(undefined, undefined);
    }
  }

  #spawn(folder: string): void {
    const options = this.#options;
    const child = launch({
      main: options.main,
      folder,
      memoryHardLimit: options.configure.memoryHardLimit,
      diskQuota: this.#diskQuota,
      threads: options.configure.threads,
    });
    this.#child = child;
    child.once('error', (error) => {
      this.#detail = `could not start: ${error.message}`;
      if (child.pid === undefined) void this.#ended(undefined, undefined);
    });
    const closed = this.#listen(child);
    child.once('exit', (code, signal) => {
      this.#results.exited();
      const grace = setTimeout(() => destroyPipes(child), PIPE_GRACE_MS);
      void closed.then(() => {
        clearTimeout(grace);
        return this.#ended(code ?? undefined, signal ?? undefined);
      });
    });
    if (child.pid === undefined) return;
    this.#watchResources(child.pid, folder);
    this.#control?.send({
      type: 'configure',
      version: PROTOCOL_VERSION,
      worker: options.worker,
      folder,
      ...options.configure,
    });
    this.#startTimer = setTimeout(() => this.kill('start-timeout'), options.startTimeoutMs);
  }

  /** Wires the pipes up; resolves when all of them are closed. */
  #listen(child: ChildProcess): Promise<unknown> {
    const stderr = child.stderr as Readable;
    const control = child.stdio[CONTROL_FD] as Duplex;
    const data = child.stdio[DATA_FD] as Duplex;
    const broken = (error: Error) => this.#broken(error);
    const controlClosed = new Promise<void>((resolve) => {
      this.#control = new ControlChannel(control, {
        decode: decodeWorkerMessage,
        onMessage: (message) => this.#receive(message),
        onProtocolError: broken,
        onClose: () => {
          // A worker without its control channel can be told nothing: it is no worker any more.
          if (child.exitCode === null && child.signalCode === null) this.#closedEarly(child);
          resolve();
        },
        maxLine: MAX_LINE,
        gathers: true,
      });
    });
    this.#results.listen(data);
    const dataClosed = new Promise((resolve) => data.once('close', resolve));
    const stderrClosed = this.#keepLastLines(stderr);
    return Promise.all([controlClosed, dataClosed, stderrClosed]);
  }

  #watchResources(pid: number, folder: string): void {
    const { memoryHardLimit, tempLimit, workspace } = this.#options.configure;
    this.#watch = new ResourceWatch({
      pid,
      folders: workspace === undefined ? [folder] : [folder, dirname(workspace)],
      memoryHardLimit,
      tempLimit,
      diskQuota: this.#diskQuota,
      at: () => (this.#state === 'starting' ? 'starting' : (this.#results.current ?? ('idle' as const))),
      onExceeded: (exceeded) => {
        if (this.#state === 'killing' || this.#state === 'exited') return;
        this.#exceeded = exceeded;
        this.kill(exceeded.what);
      },
      onSwollen: (bytes) => {
        // What a session holds is its owner's, temporary tables for one: a successor would not have them.
        if (this.#state !== 'ready' || workspace !== undefined) return;
        this.#detail ??= `it held ${bytes} bytes with nothing to do, of the ${memoryHardLimit} it may have`;
        this.#events.swollen();
      },
    });
  }

  /** Nothing that it says after it broke the protocol is listened to. */
  #broken(error: Error): void {
    this.#isBroken = true;
    this.#results.ignore();
    this.#detail ??= error.message;
    this.kill('protocol');
  }

  /** The channel closes a moment before the exit is known; only a process that stays without one is broken. */
  #closedEarly(child: ChildProcess): void {
    const check = setTimeout(() => {
      this.#detail ??= 'the worker closed its control channel and lived on';
      this.kill('protocol');
    }, PIPE_GRACE_MS);
    child.once('exit', () => clearTimeout(check));
  }

  #keepLastLines(stderr: Readable): Promise<unknown> {
    let rest = '';
    stderr.setEncoding('utf8');
    stderr.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = (lines.pop() ?? '').slice(-4_096);
      // As they come: a stack trace behind it may be longer than what is kept.
      this.#saidOutOfMemory ||= lines.some(saysOutOfMemory);
      const plain = this.#secrets.scrub(lines.filter((line) => line !== ''));
      this.#stderr.push(...plain.map((line) => line.slice(0, 1_000)));
      this.#stderr.splice(0, this.#stderr.length - LAST_LINES);
    });
    stderr.on('error', () => undefined);
    return new Promise((resolve) =>
      stderr.once('close', () => {
        this.#saidOutOfMemory ||= saysOutOfMemory(rest);
        if (rest !== '')
          this.#stderr.push(...this.#secrets.scrub([rest]).map((line) => line.slice(0, 1_000)));
        this.#stderr.splice(0, this.#stderr.length - LAST_LINES);
        resolve(undefined);
      }),
    );
  }

  #receive(message: WorkerMessage): void {
    if (this.#isBroken) return;
    // Of a statement that goes on there may be word while the worker itself has lost its heartbeat.
    if (message.type !== 'progress') this.#heardSinceCheck = true;
    switch (message.type) {
      case 'ready':
        clearTimeout(this.#startTimer);
        if (this.#state !== 'starting') return;
        this.#to('ready');
        this.#watchHeartbeat();
        this.#events.ready(message);
        return;
      case 'finished':
        this.#results.verdict(message);
        return;
      case 'withdrawn':
        if (this.#results.forget(message.seq)) this.#events.withdrawn(message.seq);
        else
          this.#broken(new ProtocolError(`a withdrawal of statement ${message.seq}, which it does not have`));
        return;
      case 'progress': {
        // Of one whose verdict has been told it comes late, if at all.
        const progress = this.#results.withPiped(message);
        if (progress !== undefined) this.#events.progress(progress);
        return;
      }
      case 'piping':
        this.#results.openPipe(resultPipe(this.#folder as string), message.seq);
        return;
      case 'piped':
        this.#results.endPipe(message.seq);
        return;
      case 'failed':
        this.#detail = this.#secrets.scrub([message.detail]).join('\n');
        this.#damagedWorkspace = message.damagedWorkspace === true;
        return;
      case 'heartbeat':
        return;
      default:
        message satisfies never;
    }
  }

  /**
   * Silence for the whole timeout is a stuck or stopped process; a long statement is not, since DuckDB runs on threads of its own.
   * Checks are counted rather than clocks compared: when this process itself was held up, the messages that came
   * meanwhile are read between two checks.
   */
  #watchHeartbeat(): void {
    const checks = 5;
    this.#heartbeatTimer = setInterval(() => {
      this.#silentChecks = this.#heardSinceCheck ? 0 : this.#silentChecks + 1;
      this.#heardSinceCheck = false;
      if (this.#silentChecks >= checks) this.kill('unresponsive');
    }, this.#options.heartbeatTimeoutMs / checks);
  }

  async #ended(exitCode: number | undefined, signal: string | undefined): Promise<void> {
    if (this.#state === 'exited') return;
    const asked = this.#state === 'stopping';
    this.#to('exited');
    clearTimeout(this.#startTimer);
    clearInterval(this.#heartbeatTimer);
    this.#watch?.end();
    this.#control?.close();
    const flight: FlightRecord = this.#folder === undefined ? UNREADABLE : readFlightRecord(this.#folder);
    if (this.#folder !== undefined) {
      await this.#options.folders.wipe(this.#folder).catch((error: Error) => {
        this.#detail ??= `its run folder could not be removed: ${error.message}`;
      });
    }
    this.#events.exit({
      pid: this.#child?.pid,
      signal,
      exitCode,
      killedFor: this.#killedFor,
      exceeded: this.#exceeded ?? this.#starved(exitCode, signal),
      memoryBytes: this.#watch?.memory?.rssBytes,
      peakMemoryBytes: this.#watch?.peakBytes,
      // Asked before it was spawned, it never was.
      stopped: asked && (exitCode === 0 || this.#child === undefined),
      flight,
      lastLines: this.#stderr,
      detail: this.#detail,
      damagedWorkspace: this.#damagedWorkspace,
    });
  }

  /** Where it could get no more memory, and ended of that. */
  #starved(exitCode: number | undefined, signal: string | undefined): Exceeded | undefined {
    const limit = this.#options.configure.memoryHardLimit;
    const memory = this.#watch?.memory;
    const fellSilent = this.#killedFor === 'unresponsive';
    const saidSo = this.#saidOutOfMemory;
    if (this.#killedFor !== undefined && !fellSilent) return undefined;
    if (!diedOfMemory({ signal, exitCode, fellSilent, saidSo, memory, limit })) return undefined;
    return { what: 'memory', limit, used: memory?.dataBytes ?? limit };
  }

  #to(next: State): void {
    if (!TRANSITIONS[this.#state].includes(next)) {
      throw new Error(`worker ${this.#options.worker}: no transition from ${this.#state} to ${next}`);
    }
    this.#state = next;
  }
}

function destroyPipes(child: ChildProcess): void {
  for (const pipe of child.stdio) pipe?.destroy();
}
