/**
 * Durations and sizes as people write them: `500ms`, `10s`, `6h`; `1MB`, `512MiB`, `2GB`.
 *
 * Durations become whole milliseconds, sizes whole bytes. `KB MB GB TB` are powers of 1000 and `KiB MiB GiB TiB`
 * powers of 1024, as in DuckDB's own `memory_limit`, so a number means the same here and there.
 */
import { z } from 'zod';

const DURATION_UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

const SIZE_UNITS = {
  B: 1,
  KB: 1e3,
  KiB: 2 ** 10,
  MB: 1e6,
  MiB: 2 ** 20,
  GB: 1e9,
  GiB: 2 ** 30,
  TB: 1e12,
  TiB: 2 ** 40,
} as const;

/** Node fires a timer of more than 2^31-1 ms at once, so no duration may be longer (24.8 days). */
export const MAX_DURATION_MS = 2 ** 31 - 1;

const A_DURATION = 'expected a duration with its unit, such as "500ms", "10s", "5m", "6h" or "1d"';
const A_SIZE = 'expected a size, such as "512MB", "2GB" or "256MiB", or a whole number of bytes';

/** Milliseconds, or undefined for what is no duration, is no whole number of milliseconds, or passes `max`: 24.8 days. */
export function parseDuration(text: string, max = MAX_DURATION_MS): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?(ms|s|m|h|d)$/.exec(text);
  if (!match) return undefined;
  return wholeProduct(match[1] ?? '', DURATION_UNITS[match[2] as keyof typeof DURATION_UNITS], max);
}

/** Bytes, or undefined for what is no size or no whole number of bytes. Units in any case, as in DuckDB. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]*)$/.exec(text);
  if (!match) return undefined;
  const name = (match[2] || 'B').toLowerCase();
  const unit = Object.entries(SIZE_UNITS).find(([key]) => key.toLowerCase() === name);
  return unit && wholeProduct(match[1] ?? '', unit[1], Number.MAX_SAFE_INTEGER);
}

/** The shortest exact text of a number of milliseconds; {@link parseDuration} gives the number back. */
export function formatDuration(milliseconds: number): string {
  return shortest(milliseconds, DURATION_UNITS, 'ms');
}

/** The shortest exact text of a number of bytes; {@link parseSize} gives the number back. */
export function formatSize(bytes: number): string {
  return shortest(bytes, SIZE_UNITS, 'B');
}

/**
 * A duration key, in milliseconds. Default: at least one; `min: 0` where "at once" makes sense; a longer `max`, in whole days,
 * where no timer waits for it.
 */
export function duration({ min = 1, max = MAX_DURATION_MS }: { min?: 0 | 1; max?: number } = {}) {
  return z.string({ error: A_DURATION }).transform((text, context) => {
    const milliseconds = parseDuration(text, max);
    if (milliseconds !== undefined && milliseconds >= min) return milliseconds;
    const detail =
      milliseconds === undefined ? `, ${Math.floor(max / DURATION_UNITS.d)}d at most` : ', more than zero';
    context.addIssue({ code: 'custom', message: A_DURATION + detail });
    return z.NEVER;
  });
}

/** A size key, in bytes; at least one. A bare number is bytes. */
export function size() {
  return z.union([z.string(), z.number()], { error: A_SIZE }).transform((value, context) => {
    const bytes = parseSize(String(value));
    if (bytes !== undefined && bytes >= 1) return bytes;
    context.addIssue({ code: 'custom', message: bytes === 0 ? `${A_SIZE}, more than zero` : A_SIZE });
    return z.NEVER;
  });
}

/** Exact: `1.1GB` in floating point is not 1100000000. */
function wholeProduct(decimal: string, factor: number, max: number): number | undefined {
  const [whole = '', fraction = ''] = decimal.split('.');
  const scaled = BigInt(whole + fraction) * BigInt(factor);
  const divisor = 10n ** BigInt(fraction.length);
  if (scaled % divisor !== 0n) return undefined;
  const product = scaled / divisor;
  return product <= BigInt(max) ? Number(product) : undefined;
}

function shortest(value: number, units: Readonly<Record<string, number>>, zeroUnit: string): string {
  if (value === 0) return `0${zeroUnit}`;
  return Object.entries(units)
    .filter(([, factor]) => value % factor === 0)
    .map(([name, factor]) => `${value / factor}${name}`)
    .reduce((best, text) => (text.length <= best.length ? text : best));
}
