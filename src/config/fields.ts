/**
 * The building blocks of the schema: each says in its own words what it expects, and never repeats what it got,
 * because what it got may be a resolved secret.
 */
import { isIPv6 } from 'node:net';
import { z } from 'zod';
import { Secret } from './secret.ts';

/** A mapping with these keys and no others. */
export function mapping<Shape extends z.ZodRawShape>(shape: Shape) {
  const keys = Object.keys(shape).join(', ');
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `unknown key; expected one of ${keys}`
        : `expected a mapping of ${keys}`,
  });
}

/** A mapping that may be left out, or left empty (`server:` with nothing under it). */
export function section<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.preprocess((value) => value ?? {}, mapping(shape));
}

export interface NameRule {
  readonly pattern: RegExp;
  readonly expected: string;
  /** Names that are taken; compared without regard to case, as DuckDB does. */
  readonly taken?: readonly string[];
}

/** SQL identifiers: source aliases and views. They are quoted wherever they are used all the same. */
export const IDENTIFIER: NameRule = {
  pattern: /^[A-Za-z_][A-Za-z0-9_]{0,62}$/,
  expected: 'expected a name of letters, digits and _, 63 at most, that does not begin with a digit',
};

/** Names that never reach SQL: pools, principals. */
export const LABEL: NameRule = {
  pattern: /^[A-Za-z0-9_-]{1,63}$/,
  expected: 'expected a name of letters, digits, _ and -, 63 at most',
};

/** What is wrong with a name, or undefined when it is well. */
export function nameProblem(name: string, rule: NameRule): string | undefined {
  if (!rule.pattern.test(name)) return rule.expected;
  if (!rule.taken?.includes(name.toLowerCase())) return undefined;
  return `expected another name; taken: ${rule.taken.join(', ')}`;
}

/**
 * A mapping from names to values of one kind. `absent` is what stands for a key that is not there.
 * The result has no prototype: looking up `constructor`, a name a client may send, finds nothing.
 */
export function named<Value extends z.ZodType>(
  value: Value,
  rule: NameRule,
  absent: Record<string, unknown> = {},
) {
  return z.preprocess(
    (given) => (given === undefined ? absent : (given ?? {})),
    z
      .record(z.string(), value, { error: 'expected a mapping of names' })
      .superRefine(
        (entries, context) => {
          if (typeof entries !== 'object' || entries === null) return;
          for (const name of Object.keys(entries)) {
            const message = nameProblem(name, rule);
            if (message) context.addIssue({ code: 'custom', path: [name], message });
          }
        },
        // Names are checked even when a value is wrong: all problems at once.
        { when: () => true },
      )
      .transform((entries) => Object.assign(withoutPrototype<z.output<Value>>(), entries)),
  );
}

/** A whole number within bounds, both included. */
export function integer(min: number, max = Number.MAX_SAFE_INTEGER) {
  const error =
    max === Number.MAX_SAFE_INTEGER
      ? `expected a whole number, ${min} or more`
      : `expected a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

/** A number within bounds, both included. */
export function decimal(min: number, max = Number.POSITIVE_INFINITY) {
  const error =
    max === Number.POSITIVE_INFINITY
      ? `expected a number, ${min} or more`
      : `expected a number from ${min} to ${max}`;
  const field = z.number({ error }).min(min, { error });
  return max === Number.POSITIVE_INFINITY ? field : field.max(max, { error });
}

export function flag() {
  return z.boolean({ error: 'expected true or false' });
}

export function oneOf<const Values extends readonly string[]>(values: Values) {
  return z.enum(values, { error: `expected one of ${values.join(', ')}` });
}

/** A text of at least one character, in quotes where YAML would read it as something else. */
export function text(expected = 'expected a text (in quotes when it looks like a number)') {
  return z.string({ error: expected }).min(1, { error: `${expected}, not empty` });
}

export function secret() {
  return z
    .string({ error: 'expected a text (in quotes when it looks like a number)' })
    .transform((value) => new Secret(value));
}

/** A host name or an address; `[::1]` becomes `::1`. No blanks: they would begin another option of a connection string. */
export function host() {
  const expected = 'expected a host name or an address, without a port';
  return text(expected)
    .transform((value) => value.replace(/^\[(.*)\]$/, '$1'))
    .refine((value) => isIPv6(value) || /^[^\s/@:='"[\]]+$/.test(value), { error: expected });
}

export function port(min: 0 | 1) {
  return integer(min, 65_535);
}

export function list<Item extends z.ZodType>(item: Item, expected: string) {
  return z.array(item, { error: expected });
}

/** Names in a list, as SQL functions and extensions have them. */
export function names(expected: string) {
  return list(text(expected).regex(/^[A-Za-z_][A-Za-z0-9_]*$/, { error: expected }), expected);
}

/** An http or https URL that carries no credentials: those have keys of their own. */
export function url() {
  const expected = 'expected an http:// or https:// URL without a user or a password in it';
  return text(expected).refine(
    (value) => {
      if (!URL.canParse(value)) return false;
      const { protocol, username, password } = new URL(value);
      return /^https?:$/.test(protocol) && username === '' && password === '';
    },
    { error: expected },
  );
}

function withoutPrototype<Value>(): Record<string, Value> {
  return Object.create(null) as Record<string, Value>;
}
