/**
 * A configuration as plain data that the structured clone takes from one thread to another, and back.
 *
 * By itself the clone loses what a {@link Secret} holds, and gives a prototype to mappings from names, which have none so
 * that nobody's `constructor` is found in them.
 */
import { Secret } from './secret.ts';

export type Clonable =
  | string
  | number
  | boolean
  | null
  | undefined
  | readonly Clonable[]
  | { readonly secret: string }
  | {
      readonly keys: readonly string[];
      readonly values: readonly Clonable[];
      /** True of a mapping from names. */
      readonly bare: boolean;
    };

/** Throws for what no configuration holds: another class, a function. */
export function toClonable(value: unknown): Clonable {
  if (value instanceof Secret) return { secret: value.reveal() };
  if (Array.isArray(value)) return value.map(toClonable);
  if (typeof value === 'object' && value !== null) {
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== null && prototype !== Object.prototype) throw new TypeError('a class of its own');
    return {
      keys: Object.keys(value),
      values: Object.values(value).map(toClonable),
      bare: prototype === null,
    };
  }
  if (typeof value === 'function' || typeof value === 'symbol' || typeof value === 'bigint')
    throw new TypeError(`a ${typeof value}`);
  return value as string | number | boolean | null | undefined;
}

/** What {@link toClonable} was given. */
export function fromClonable(value: Clonable): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (isList(value)) return value.map(fromClonable);
  if ('secret' in value) return new Secret(value.secret);
  const mapping: Record<string, unknown> = value.bare ? Object.create(null) : {};
  for (const [index, key] of value.keys.entries()) mapping[key] = fromClonable(value.values[index]);
  return mapping;
}

function isList(value: Clonable & object): value is readonly Clonable[] {
  return Array.isArray(value);
}
