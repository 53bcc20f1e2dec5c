/**
 * Ids of crashes: `20240131T120000123Z-3f9a2c1b`, the time in UTC and eight digits of chance. They sort as the crashes came,
 * and are fit to be names of files.
 */
import { randomBytes } from 'node:crypto';

const CRASH_ID = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z-[0-9a-f]{8}$/;

export function isCrashId(text: string): boolean {
  return CRASH_ID.test(text);
}

/** Milliseconds since the epoch at which the id was made; NaN for what is no id. */
export function timeOfCrashId(id: string): number {
  const iso = id.replace(CRASH_ID, '$1-$2-$3T$4:$5:$6.$7Z');
  return Date.parse(iso);
}

export class CrashIds {
  #last = 0;

  /** Sorts behind the one before, even where two crashes fall into one millisecond or the clock is set back. */
  next(at: number): string {
    this.#last = Math.max(Math.floor(at), this.#last + 1);
    const time = new Date(this.#last).toISOString().replaceAll(/[-:.]/g, '');
    return `${time}-${randomBytes(4).toString('hex')}`;
  }
}
