/**
 * The flight recorder: sixteen bytes in a worker's run folder that say which statement it is at, and how far.
 * The worker overwrites them in place (a few microseconds, no space needed); the parent reads them once the process is gone.
 * So blame is exact whatever the worker died of, without a message for every step.
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { PHASES, type Phase } from './protocol.ts';

const FILE = 'flight-recorder';
const SIZE = 16;

export interface FlightRecord {
  readonly phase: Phase;
  /** The statement it was at, or was idle after; undefined when it had not begun any. */
  readonly seq: number | undefined;
  /** False where it is certain that no statement of that request has run which may have written. */
  readonly wrote: boolean;
}

export class FlightRecorder {
  readonly #file: number;
  readonly #record = Buffer.alloc(SIZE);

  constructor(folder: string) {
    this.#file = openSync(join(folder, FILE), 'w', 0o600);
  }

  write(phase: Phase, seq?: number, wrote = false): void {
    this.#record.writeUInt32BE(PHASES.indexOf(phase), 0);
    this.#record.writeUInt32BE(seq === undefined ? 0 : 1, 4);
    this.#record.writeUInt32BE(seq ?? 0, 8);
    this.#record.writeUInt32BE(wrote ? 1 : 0, 12);
    writeSync(this.#file, this.#record, 0, SIZE, 0);
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** Says least: anything may have happened. */
export const UNREADABLE: FlightRecord = { phase: 'starting', seq: undefined, wrote: true };

/** What the recorder in `folder` says last; `starting` when it never came to write. */
export function readFlightRecord(folder: string): FlightRecord {
  try {
    const record = readFileSync(join(folder, FILE));
    const phase = record.length === SIZE ? PHASES[record.readUInt32BE(0)] : undefined;
    if (phase === undefined) return UNREADABLE;
    return {
      phase,
      seq: record.readUInt32BE(4) === 1 ? record.readUInt32BE(8) : undefined,
      wrote: record.readUInt32BE(12) !== 0,
    };
  } catch {
    return UNREADABLE;
  }
}
