/**
 * A value that prints as `[secret]` wherever it is logged, joined, serialised or inspected.
 *
 * ```ts
 * const password = new Secret('hunter2');
 * `${password}`;          // '[secret]'
 * JSON.stringify({ password });  // '{"password":"[secret]"}'
 * password.reveal();      // 'hunter2': the one way in, and easy to search for
 * ```
 *
 * The value sits in a private field, so a structured clone or a spread loses it instead of carrying it along.
 * Two secrets are equal when what they reveal is equal; a deep comparison cannot see that.
 */
import { inspect } from 'node:util';

export const HIDDEN = '[secret]';

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return HIDDEN;
  }

  toJSON(): string {
    return HIDDEN;
  }

  [inspect.custom](): string {
    return HIDDEN;
  }
}

/** Keys whose value is a {@link Secret}: what stands there is never shown, be it of the wrong type or misplaced. */
export const SECRET_KEYS: ReadonlySet<string> = new Set([
  'password',
  'key_id',
  'secret',
  'session_token',
  'bearer_token',
  'headers',
  'key_hash',
]);

/** Every secret inside plain data, for those who must scrub them from foreign texts (a driver's error, a log). */
export function secretsIn(data: unknown): Secret[] {
  const found: Secret[] = [];
  const look = (value: unknown): void => {
    if (value instanceof Secret) found.push(value);
    else if (typeof value === 'object' && value !== null) for (const key in value) look(value[key as never]);
  };
  look(data);
  return found;
}

/** The same plain data, each secret as it is: to be compared or hashed, and never to be kept. */
export function revealed(data: unknown): unknown {
  if (data instanceof Secret) return data.reveal();
  if (Array.isArray(data)) return data.map(revealed);
  if (typeof data !== 'object' || data === null) return data;
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, revealed(value)]));
}
