/**
 * The program of a worker process. It is configured over its control channel, loads DuckDB only then, runs statements, and ends
 * itself the moment the channel closes: no API process, no worker.
 */
import { readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import { getPriority, setPriority } from 'node:os';
import { Piscina } from 'piscina';
import { ControlChannel } from './control-channel.ts';
import { encodeFrames } from './data-frames.ts';
import type { Instances } from './duckdb/instances.ts';
import type { EncodedBatch } from './duckdb/json-encoding.ts';
import type { Engine, EngineOptions } from './engine.ts';
import { Faults } from './faults.ts';
import { FlightRecorder } from './flight-recorder.ts';
import { closeInherited } from './inherited-descriptors.ts';
import type { EncodeArrow, EncodedArrow, EncodeJson } from './lane.ts';
import { PipedResults } from './piped-results.ts';
import {
  CONTROL_FD,
  type Configure,
  DATA_FD,
  decodeParentMessage,
  type ParentMessage,
  PROTOCOL_VERSION,
  type WorkerMessage,
} from './protocol.ts';
import { makePipe, resultPipe } from './result-pipe.ts';

/** A statement's text and parameters are the longest thing the parent sends. */
const MAX_LINE = 256 * 1024 * 1024;

const channel = new ControlChannel<ParentMessage, WorkerMessage>(new Socket({ fd: CONTROL_FD }), {
  decode: decodeParentMessage,
  onMessage: receive,
  onProtocolError: (error) => giveUp(error.message),
  // Not process.exit(): with native work on other threads it waits for ever.
  onClose: () => process.kill(process.pid, 'SIGKILL'),
  maxLine: MAX_LINE,
});
const data = new Socket({ fd: DATA_FD, writable: true });
data.on('error', () => process.kill(process.pid, 'SIGKILL'));

let piped: PipedResults | undefined;
let engine: Engine | undefined;
let instances: Instances | undefined;
let heartbeat: NodeJS.Timeout | undefined;
/** Milliseconds from one word on a long statement's progress to the next. */
const PROGRESS_MS = 250;
let chaos = false;
const faults = new Faults({
  stopHeartbeat: () => clearInterval(heartbeat),
  beat: () => channel.send({ type: 'heartbeat' }),
  closeChannel: () => channel.close(),
  keepStaleCatalogs: () => instances?.keepStaleCatalogs(),
});

function receive(message: ParentMessage): void {
  switch (message.type) {
    case 'configure':
      start(message).catch((error: unknown) =>
        giveUp(error instanceof Error ? error.message : String(error)),
      );
      return;
    case 'run':
      engine?.run(message);
      return;
    case 'interrupt':
      engine?.interrupt(message.seq);
      return;
    case 'withdraw':
      engine?.withdraw(message.seq);
      return;
    case 'flowing':
      engine?.flowing(message.seq);
      return;
    case 'taken':
      piped?.taken(message.seq);
      return;
    case 'fault':
      if (chaos) faults.inject(message.fault, message.phase, message.seq);
      return;
    case 'shutdown':
      // The parent waits for the exit, and kills what does not come to it.
      process.exit(0);
      break;
    default:
      message satisfies never;
  }
}

async function start(configure: Configure): Promise<void> {
  ({ chaos } = configure);
  closeInherited();
  lowerPriority(configure.niceness);
  const recorder = new FlightRecorder(configure.folder);
  recorder.write('starting');
  if (chaos && configure.startFault !== undefined) await faults.starting(configure.startFault);
  // Only now: limits stand, and a worker that is never configured never loads native code.
  const [{ Instances: DuckDBInstances }, { Engine: DuckDBEngine }, { version }, pipe] = await Promise.all([
    import('./duckdb/instances.ts'),
    import('./engine.ts'),
    import('@duckdb/node-api'),
    makePipe(resultPipe(configure.folder)),
  ]);
  const lanes = new Piscina({
    filename: createRequire(import.meta.url).resolve('#lane'),
    minThreads: 0,
    maxThreads: 1,
    idleTimeout: 10_000,
  });
  const opened = await DuckDBInstances.open(configure, pipe);
  instances = opened;
  const damage = await opened.openWorkspace();
  if (damage !== undefined) {
    giveUp(damage, { damagedWorkspace: true });
    return;
  }
  const results = new PipedResults(pipe, (message) => channel.send(message));
  piped = results;
  await warmUp(
    (own) =>
      new DuckDBEngine({ configure, instances: opened, piped: results, lane: noLane, arrow: noLane, ...own }),
  );
  engine = new DuckDBEngine({
    configure,
    instances: opened,
    lane: (batch, layout, room) =>
      lanes.run({ batch, layout, room } satisfies EncodeJson, {
        name: 'encodeJson',
      }) as Promise<EncodedBatch>,
    arrow: (part: EncodeArrow) =>
      lanes.run(part, { name: 'encodeArrow', transferList: part.buffers }) as Promise<EncodedArrow>,
    onPhase: (phase, seq, wrote) => {
      recorder.write(phase, seq, wrote);
      faults.entering(phase, seq);
    },
    write: writeData,
    piped: results,
    finished: (result) => channel.send({ type: 'finished', ...result }),
    withdrawn: (seq) => channel.send({ type: 'withdrawn', seq }),
  });
  heartbeat = setInterval(() => {
    channel.send({ type: 'heartbeat' });
    engine?.sampleMemory();
  }, configure.heartbeatMs);
  setInterval(() => {
    engine?.watchDisk();
    const progress = engine?.progress();
    if (progress !== undefined) channel.send({ type: 'progress', ...progress });
  }, PROGRESS_MS);
  recorder.write('idle');
  faults.entering('idle');
  channel.send({ type: 'ready', version: PROTOCOL_VERSION, duckdb: version(), node: process.version });
}

type OwnEngineOptions = Pick<EngineOptions, 'onPhase' | 'write' | 'finished' | 'withdrawn'>;

/**
 * Runs a few statements whose results nobody gets, so that the first one of a client meets code that is loaded and
 * compiled: a worker of the reserve answers as fast as the one it takes over from.
 */
async function warmUp(create: (own: OwnEngineOptions) => Engine): Promise<void> {
  const sql = "SELECT i, i::DOUBLE AS d, 'text' || i AS t, [i] AS l FROM range(100) r(i)";
  for (let seq = 0; seq < 5; seq += 1) {
    await new Promise<void>((resolve) => {
      const own = { onPhase: () => undefined, write: async () => undefined, withdrawn: () => undefined };
      const warm = create({ ...own, finished: () => resolve() });
      const limits = { maxBytes: 1_000_000, attachments: [], write: false };
      warm.run({ type: 'run', seq, sql: `${sql} WHERE i <> ${seq}`, rowFormat: 'arrays', ...limits });
    });
  }
}

/** Results as small as those have none of their columns encoded elsewhere. */
function noLane(): Promise<never> {
  return Promise.reject(new Error('a result of the warm-up was too large'));
}

/** Writes a statement's bytes with the pipe's own backpressure. */
function writeData(seq: number, bytes: Uint8Array): Promise<void> {
  let room = true;
  data.cork();
  for (const piece of encodeFrames(seq, bytes)) room = data.write(piece);
  data.uncork();
  return room ? Promise.resolve() : new Promise((resolve) => data.once('drain', () => resolve()));
}

/** The API is to be served before its workers, and to outlive them when memory runs out (proc(5), oom_score_adj). */
function lowerPriority(niceness: number): void {
  // Never better than what it was started with: that takes a privilege.
  const lowered = Math.max(niceness, getPriority());
  setPriority(lowered);
  // Linux keeps it by thread (setpriority(2), "C library/kernel differences"). Later threads have it of the one that starts them.
  for (const thread of threads()) setPriority(thread, lowered);
  try {
    writeFileSync('/proc/self/oom_score_adj', '500');
  } catch {
    // Not everywhere: then the kernel chooses by size, which is the worker as well.
  }
}

function threads(): number[] {
  try {
    return readdirSync('/proc/self/task').map(Number);
  } catch {
    return [];
  }
}

/** Says why, then ends: the parent reads the reason and restarts with backoff. */
function giveUp(detail: string, more: { readonly damagedWorkspace?: true } = {}): void {
  channel.send({ type: 'failed', detail, ...more });
  process.exitCode = 1;
  setImmediate(() => process.exit(1));
}
