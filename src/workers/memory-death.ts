/**
 * Whether a process that nobody killed for it died because it could get no more memory. At its data-segment limit an allocation fails
 * in whatever code asks for it next, and some of that code can only abort: C++ that cleans up after the first failure, V8.
 */
import type { MemoryReading } from './process-memory.ts';

export interface AbortedProcess {
  readonly signal: string | undefined;
  readonly exitCode: number | undefined;
  /** It gave no sign of life any more, and was killed for that. */
  readonly fellSilent: boolean;
  /** A line of its stderr said so, see {@link saysOutOfMemory}. */
  readonly saidSo: boolean;
  readonly memory: MemoryReading | undefined;
  /** Bytes of the data-segment limit. */
  readonly limit: number;
}

/** `abort()`, and the traps that V8's own checks end in. */
const ABORTS: ReadonlySet<string> = new Set(['SIGABRT', 'SIGTRAP', 'SIGILL']);
/** Between two readings a fast process takes so much, as a share of its limit. */
const SHARE = 1 / 8;

/**
 * An abort alone is a crash, and so is a line alone; a segmentation fault is one even close to the limit, since a
 * statement can bring about both.
 */
export function diedOfMemory({ signal, exitCode, fellSilent, saidSo, ...process }: AbortedProcess): boolean {
  // What its control thread asks for is not to be had either.
  if (fellSilent) return isAtLimit(process);
  if (signal === undefined) return saidSo && exitCode !== 0;
  return ABORTS.has(signal) && (saidSo || isAtLimit(process));
}

function isAtLimit({ memory, limit }: Pick<AbortedProcess, 'memory' | 'limit'>): boolean {
  return memory !== undefined && memory.dataBytes > limit * (1 - SHARE);
}

const LAST_WORDS = [
  // The C++ runtime (libstdc++, libc++abi), of an exception that nobody catches.
  /^terminate called after throwing an instance of 'std::bad_alloc'/,
  /^(?:libc\+\+abi: )?terminating due to uncaught exception of type std::bad_alloc/,
  // Node (OOMErrorHandler) and V8 (FatalProcessOutOfMemory).
  /^FATAL ERROR: .*\bout of memory$/,
  /^# Fatal \w+ out of memory: /,
  // JavaScript that nobody catches.
  /^RangeError: Array buffer allocation failed$/,
  /^RangeError \[ERR_MEMORY_ALLOCATION_FAILED\]: /,
];

/** Whether a line on stderr is the last word of a runtime that could not allocate. */
export function saysOutOfMemory(line: string): boolean {
  return LAST_WORDS.some((words) => words.test(line));
}
