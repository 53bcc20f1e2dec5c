/**
 * What the configuration already says and this version does not yet do: one entry a feature, deleted as it lands.
 *
 * `warn` tells the operator who set it that it has no effect. `refuse` is for what somebody would rely on:
 * a server that only seemed to ask for keys would be open.
 */
import type { Path } from './problems.ts';

interface NotYet {
  /** `*` stands for every name. Only what the file itself sets is looked at, never a default. */
  readonly path: readonly string[];
  readonly action: 'warn' | 'refuse';
  readonly message: string;
  /** Only for these values; without it, for any. */
  readonly values?: readonly unknown[];
}

const NO_EFFECT = 'checked, but without effect in this version';

export const NOT_YET: readonly NotYet[] = [
  { path: ['telemetry', 'otlp_endpoint'], action: 'warn', message: NO_EFFECT },
];

/** The entries that a file's data falls under, each with the path it was found at. */
export function notYet(data: unknown, entries: readonly NotYet[] = NOT_YET): { path: Path; entry: NotYet }[] {
  return entries.flatMap((entry) =>
    matches(data, entry.path)
      .filter(({ value }) => value !== null && value !== undefined && (entry.values?.includes(value) ?? true))
      .map(({ path }) => ({ path, entry })),
  );
}

function matches(data: unknown, pattern: readonly string[]): { path: Path; value: unknown }[] {
  const [first, ...rest] = pattern;
  if (first === undefined) return [{ path: [], value: data }];
  if (typeof data !== 'object' || data === null) return [];
  return Object.entries(data)
    .filter(([key]) => first === '*' || key === first)
    .flatMap(([key, value]) =>
      matches(value, rest).map((found) => ({ ...found, path: [key, ...found.path] })),
    );
}
