/** Waiting for what another process does: by looking again and again, never by guessing how long it takes. */
import { setTimeout as sleep } from 'node:timers/promises';

const EVERY_MS = 20;

export interface PollOptions {
  readonly timeoutMs?: number;
  /** What is waited for, as the error shall name it. */
  readonly what: string;
}

/** The first value that is neither undefined nor false; rejects when there is none in time. */
export async function eventually<Value>(
  look: () => Value | Promise<Value>,
  { what, timeoutMs = 15_000 }: PollOptions,
): Promise<Exclude<Value, undefined | false>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await look();
    if (value !== undefined && value !== false) return value as Exclude<Value, undefined | false>;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await sleep(EVERY_MS);
  }
}
