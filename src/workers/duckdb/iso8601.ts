/** DuckDB's dates, times and intervals as ISO 8601 text, to the last digit, for every value they can hold. */

const MICROS_PER_DAY = 86_400_000_000n;

/** Days since 1970-01-01; the extremes are DuckDB's infinities. */
export function isoDate(days: number): string {
  if (days === 2_147_483_647) return 'infinity';
  if (days === -2_147_483_647) return '-infinity';
  const { year, month, day } = civilFromDays(days);
  return `${isoYear(year)}-${two(month)}-${two(day)}`;
}

/** A count of units since midnight; `digits` is how many of them a second has, as a power of ten. */
export function isoTime(units: bigint, digits: 6 | 9 = 6): string {
  const perSecond = 10n ** BigInt(digits);
  const seconds = Number(units / perSecond);
  const fraction = (units % perSecond).toString().padStart(digits, '0').replace(/0+$/, '');
  const clock = `${two(Math.floor(seconds / 3_600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return fraction === '' ? clock : `${clock}.${fraction}`;
}

/** A time of day in microseconds and its offset from UTC in seconds. */
export function isoTimeWithOffset(micros: bigint, offset: number): string {
  const ahead = Math.abs(offset);
  const seconds = ahead % 60;
  const zone = `${two(Math.floor(ahead / 3_600))}:${two(Math.floor(ahead / 60) % 60)}${seconds === 0 ? '' : `:${two(seconds)}`}`;
  return `${isoTime(micros)}${offset < 0 ? '-' : '+'}${zone}`;
}

const INFINITY = 9_223_372_036_854_775_807n;

/** A count of units since 1970-01-01T00:00:00; `digits` as in {@link isoTime}, 0 for seconds and 3 for milliseconds. */
export function isoTimestamp(units: bigint, digits: 0 | 3 | 6 | 9): string {
  if (units === INFINITY) return 'infinity';
  if (units === -INFINITY) return '-infinity';
  if (digits === 9) return fromDays(units, MICROS_PER_DAY * 1_000n, 9);
  return fromDays(units * 10n ** BigInt(6 - digits), MICROS_PER_DAY, 6);
}

/** An ISO 8601 duration; months, days and time keep their own signs, as in DuckDB. */
export function isoInterval(months: number, days: number, micros: bigint): string {
  const date = `${months === 0 ? '' : `${months}M`}${days === 0 ? '' : `${days}D`}`;
  const sign = micros < 0n ? '-' : '';
  const size = micros < 0n ? -micros : micros;
  const fraction = (size % 1_000_000n).toString().padStart(6, '0').replace(/0+$/, '');
  const seconds = `${sign}${size / 1_000_000n}${fraction === '' ? '' : `.${fraction}`}S`;
  if (micros === 0n) return date === '' ? 'PT0S' : `P${date}`;
  return `P${date}T${seconds}`;
}

function fromDays(units: bigint, perDay: bigint, digits: 6 | 9): string {
  let days = units / perDay;
  let rest = units % perDay;
  if (rest < 0n) {
    rest += perDay;
    days -= 1n;
  }
  const { year, month, day } = civilFromDays(Number(days));
  return `${isoYear(year)}-${two(month)}-${two(day)}T${isoTime(rest, digits)}`;
}

/** The proleptic Gregorian date of a day number (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"). */
function civilFromDays(days: number): { year: number; month: number; day: number } {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1_460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * marchMonth + 2) / 5) + 1;
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9;
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day };
}

/** Four digits, or a sign and six of them outside 0000 to 9999 (ISO 8601, expanded representation). */
function isoYear(year: number): string {
  if (year >= 0 && year <= 9_999) return String(year).padStart(4, '0');
  return `${year < 0 ? '-' : '+'}${String(Math.abs(year)).padStart(6, '0')}`;
}

function two(number: number): string {
  return number < 10 ? `0${number}` : String(number);
}
