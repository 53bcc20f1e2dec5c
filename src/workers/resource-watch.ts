/**
 * Watches what a worker process takes of memory and disk, from outside, for as long as it lives.
 *
 * Work is looked at ten times a second, a worker that has nothing to do once a second. A statement's start and end cost
 * nothing here: what it is at is asked at each look. The disk is looked at only for a statement that has run for a while: DuckDB
 * removes the spill of the others itself.
 */
import { allocatedBytes } from './folder-size.ts';
import type { Exceeded } from './limits.ts';
import { MemoryGauge } from './memory-gauge.ts';
import { type MemoryReading, ProcessMemory } from './process-memory.ts';

export interface ResourceWatchOptions {
  readonly pid: number;
  /** Its run folder, and its session's. */
  readonly folders: readonly string[];
  /** Bytes. */
  readonly memoryHardLimit: number;
  readonly tempLimit: number;
  /** Of all folders together, {@link diskQuota}. */
  readonly diskQuota: number;
  /** What the process is at now; at work, the first statement it has. */
  readonly at: () => 'starting' | 'idle' | number;
  readonly onExceeded: (exceeded: Exceeded) => void;
  /** Memory does not come back: it holds `bytes` with nothing to do. Called once. */
  readonly onSwollen: (bytes: number) => void;
}

const LOOK_MS = 100;
const LOOKS_PER_IDLE_LOOK = 10;
const LOOKS_PER_DISK_LOOK = 5;

export class ResourceWatch {
  readonly #options: ResourceWatchOptions;
  readonly #memory: ProcessMemory;
  readonly #gauge: MemoryGauge;
  readonly #timer: NodeJS.Timeout;
  #looks = 0;
  #wasBusy = false;
  /** At the disk look before. */
  #statement: number | undefined;
  #measuring = false;
  #ended = false;

  constructor(options: ResourceWatchOptions) {
    this.#options = options;
    this.#memory = new ProcessMemory(options.pid);
    this.#gauge = new MemoryGauge(options.memoryHardLimit);
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** The latest reading, of the past once the process has ended. */
  get memory(): MemoryReading | undefined {
    return this.#gauge.last;
  }

  /** The highest resident set there was at any look, in bytes. */
  get peakBytes(): number | undefined {
    return this.#gauge.peakBytes;
  }

  end(): void {
    this.#ended = true;
    clearInterval(this.#timer);
    this.#memory.close();
  }

  #look(): void {
    const at = this.#options.at();
    const busy = typeof at === 'number';
    this.#looks += 1;
    // Right after work too: that is when memory is or is not given back.
    if (busy || this.#wasBusy || this.#looks % LOOKS_PER_IDLE_LOOK === 0 || at === 'starting')
      this.#weigh(busy ? 'busy' : at);
    this.#wasBusy = busy;
    if (this.#looks % LOOKS_PER_DISK_LOOK !== 0) return;
    const statement = busy ? at : undefined;
    if (statement !== undefined && statement === this.#statement) void this.#measureDisk();
    this.#statement = statement;
  }

  #weigh(state: 'starting' | 'idle' | 'busy'): void {
    const reading = this.#memory.read();
    if (reading === undefined) return;
    const { memoryHardLimit: limit, onExceeded, onSwollen } = this.#options;
    switch (this.#gauge.note(reading, state, performance.now())) {
      case 'exceeded':
        onExceeded({ what: 'memory', limit, used: reading.rssBytes });
        return;
      case 'swollen':
        onSwollen(reading.rssBytes);
        return;
      default:
    }
  }

  /** One at a time, however long it takes. */
  async #measureDisk(): Promise<void> {
    if (this.#measuring) return;
    this.#measuring = true;
    const { folders, tempLimit, diskQuota, onExceeded } = this.#options;
    let used = 0;
    for (const folder of folders) used += await allocatedBytes(folder);
    this.#measuring = false;
    if (!this.#ended && used > diskQuota) onExceeded({ what: 'disk', limit: tempLimit, used });
  }
}
