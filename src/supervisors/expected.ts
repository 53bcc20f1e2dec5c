/** An option that is not what it has to be. The message names it, what was expected, and what came. */
export class InvalidOptionError extends TypeError {
  override readonly name = 'InvalidOptionError';
  readonly code = 'INVALID_OPTION';
}

/** The longest a timer can wait: Node fires a timer past this bound after one millisecond. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Throws `owner: expected option to be what, got value`. */
export function refuse(owner: string, option: string, what: string, value: unknown): never {
  throw new InvalidOptionError(`${owner}: expected ${option} to be ${what}, got ${show(value)}`);
}

/** Throws for a key that is none of `known`, so that a typo is never silent. */
export function refuseUnknownKeys(owner: string, options: object, known: readonly string[]): void {
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new InvalidOptionError(`${owner}: expected options out of ${known.join(', ')}, got ${show(key)}`);
    }
  }
}

/** Throws unless `value` is a whole number of milliseconds a timer can wait, at least `least`. */
export function requireMilliseconds(owner: string, option: string, value: unknown, least: number): void {
  if (!Number.isInteger(value) || (value as number) < least || (value as number) > MAX_TIMER_MS) {
    refuse(owner, option, `whole milliseconds from ${least} to ${MAX_TIMER_MS}`, value);
  }
}

/** Throws unless `value` is one of `choices`. */
export function requireOneOf(
  owner: string,
  option: string,
  value: unknown,
  choices: readonly (string | undefined)[],
): void {
  if (!choices.includes(value as string)) refuse(owner, option, `one of ${choices.join(', ')}`, value);
}

/** Throws unless `value` can stand as one segment of a path. */
export function requirePathSegment(owner: string, option: string, value: unknown): void {
  if (typeof value !== 'string' || value === '' || value.includes('/')) {
    refuse(owner, option, 'a string without "/" that is not empty', value);
  }
}

export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  return String(value);
}
