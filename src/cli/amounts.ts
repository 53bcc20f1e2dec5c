/** Times and sizes as people read them: two digits or so, and a unit. Pure. */

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `250 ms`, `1.5 s`, `42 s`, `5 min`, `3 h 20 min`, `2 d 4 h`. */
export function duration(ms: number): string {
  if (ms < SECOND) return `${Math.round(ms)} ms`;
  if (ms < 10 * SECOND) return `${Math.floor(ms / 100) / 10} s`;
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return two(ms, MINUTE, 'min', SECOND, 's');
  if (ms < DAY) return two(ms, HOUR, 'h', MINUTE, 'min');
  return two(ms, DAY, 'd', HOUR, 'h');
}

function two(ms: number, large: number, name: string, small: number, smallName: string): string {
  const rest = Math.floor((ms % large) / small);
  return `${Math.floor(ms / large)} ${name}${rest === 0 ? '' : ` ${rest} ${smallName}`}`;
}

/** `512 B`, `1.5 kB`, `42 MB`, `1.2 GB`; powers of 1000, as in the configuration. */
export function bytes(count: number): string {
  let amount = count;
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (amount < 1_000) return `${round(amount, unit)} ${unit}`;
    amount /= 1_000;
  }
  return `${round(amount, 'TB')} TB`;
}

function round(amount: number, unit: string): number {
  return unit === 'B' || amount >= 10 ? Math.round(amount) : Math.round(amount * 10) / 10;
}
