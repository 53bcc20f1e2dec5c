/**
 * What is wrong with a configuration, said so that a person can put it right: where, what stands there, and what
 * was expected. What stands there is the text of the file, `${env:NAME}` and all, never a resolved value.
 */
import { SECRET_KEYS } from './secret.ts';

export interface ConfigProblem {
  /** `pools.interactive.memory_limit`, `auth.principals.analyst.sources[0]`; empty for the file itself. */
  readonly path: string;
  /** What stands there, fit to be shown; absent when nothing does. */
  readonly value?: string;
  /** What was expected, or, of a warning, what to know. */
  readonly message: string;
  /** Counted from 1; absent when the value is no part of the file. */
  readonly line?: number;
  readonly column?: number;
}

export type Path = readonly (string | number)[];

export function pathText(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`;
      if (!/^[\w-]+$/.test(part)) return `[${JSON.stringify(part)}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join('');
}

/** The value at a path of plain data. */
export function valueAt(data: unknown, path: Path): unknown {
  let value = data;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const LONGEST = 80;

/**
 * The text of a value before its references are resolved, or undefined when there is none.
 * A literal where a secret belongs is hidden, and so is a text that may be a connection string or a URL with a
 * password in it; a value that is one whole reference is always shown, for it is only a name.
 */
export function show(path: Path, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'string' && /^\$\{(env:[A-Za-z_]\w*|file:[^{}]+)\}$/.test(value)) return value;
  if (path.some((part) => SECRET_KEYS.has(String(part)))) return '[secret]';
  if (typeof value !== 'string') return String(value);
  if (/[=@]/.test(value)) return '[not shown]';
  return JSON.stringify(value.length > LONGEST ? `${value.slice(0, LONGEST)}...` : value);
}

/** In the order of the file; what is not in the file comes first. */
export function inFileOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  return [...problems].sort(
    (one, other) => (one.line ?? 0) - (other.line ?? 0) || (one.column ?? 0) - (other.column ?? 0),
  );
}

/**
 * One line a problem, for people:
 * `duckcoop.yaml:12:5: pools.interactive.memory_limit is "4GB": expected memory_hard_limit ("2GB") at most`
 */
export function formatProblems(problems: readonly ConfigProblem[], file = 'configuration'): string {
  return problems
    .map(({ path, value, message, line, column }) => {
      const where = [file, line, column].filter((part) => part !== undefined).join(':');
      const what = value === undefined ? path : `${path} is ${value}`;
      return [where, what, message].filter((part) => part !== '').join(': ');
    })
    .join('\n');
}
