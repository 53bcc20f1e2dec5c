/**
 * The SQL that has DuckDB itself write a result in a format: COPY to the worker's pipe, or, where rows have to be counted on their
 * way, a read of the same texts row by row. Pure.
 *
 * The text of a client stands in parentheses, on lines of its own. It has been prepared by itself before, so its own
 * parentheses are balanced and its comments closed.
 */
import { type DuckDBType, DuckDBTypeId as Id } from '@duckdb/node-api';
import type { ResultOutput } from '../protocol.ts';
import { literal } from './quote.ts';
import type { Rewrite, Rewritten } from './statement.ts';
import { planType, type TypePlan } from './type-plan.ts';

/**
 * Table functions that open a file by its path, or list them. On an instance that may write to the pipe none of them may run:
 * they would read from it.
 */
const OPENS_FILES =
  /read_|sniff_csv|glob|parquet_|query|sqlite_|iceberg_|delta_|st_read|getvariable|current_setting|duckdb_settings/i;

/** Whether nothing that the text may do can open the pipe, so that it may run where COPY may write to it. */
export function mayRunBesidePipe(sql: string): boolean {
  return !OPENS_FILES.test(sql);
}

/**
 * The COPY of a read to the pipe. Undefined for what COPY cannot write as it should be. With `required` for a read that can take
 * no other way.
 */
export function copyTo(pipe: string, output: ResultOutput, required: boolean): Rewrite {
  return (text, columns) => {
    const copy = copyOf(pipe, output, [], text, columns);
    return copy && { ...copy, required };
  };
}

/** The COPY of a read to a path, with further options. Undefined for what COPY cannot write as it should be. */
export function copyOf(
  path: string,
  output: ResultOutput,
  further: readonly string[],
  text: string,
  { names, types }: { readonly names: readonly string[]; readonly types: readonly DuckDBType[] },
): Rewritten | undefined {
  const options = copyOptions(output);
  if (options === undefined) return undefined;
  const read = output.format === 'ndjson' ? jsonRead(names, types) : ['', ''];
  if (read === undefined) return undefined;
  const all = [options, ...further].join(', ');
  return {
    ...around(text, `COPY (${read[0]}`, `${read[1]}) TO ${literal(path)} (${all})`),
    whole: true,
    required: true,
    names,
  };
}

/** A read of texts in place of the read: one cell each for CSV, one line for NDJSON. */
export function rowTexts(output: ResultOutput): Rewrite | undefined {
  switch (output.format) {
    case 'csv':
      return (text, { names }) => ({
        ...around(text, 'SELECT CAST(COLUMNS(*) AS VARCHAR) FROM (', ')'),
        whole: false,
        required: false,
        names,
      });
    case 'ndjson': {
      const line = output.rows === 'arrays' ? 'json_array(*COLUMNS(*))' : 'to_json(result)';
      return (text, { names }) => ({
        ...around(text, `SELECT CAST(${line} AS VARCHAR) FROM (`, `) AS result(${aliases(names)})`),
        whole: false,
        required: false,
        names,
      });
    }
    default:
      return undefined;
  }
}

function around(text: string, before: string, after: string): Pick<Rewritten, 'sql' | 'before'> {
  return { sql: `${before}\n${text}\n${after}`, before: Buffer.byteLength(before) + 1 };
}

function copyOptions(output: ResultOutput): string | undefined {
  switch (output.format) {
    case 'csv':
      return `FORMAT csv, HEADER ${output.header}, DELIMITER ${literal(output.delimiter)}, NULLSTR ${literal(output.null)}`;
    case 'parquet':
      return 'FORMAT parquet';
    case 'ndjson':
      return output.rows === 'objects' ? 'FORMAT json' : undefined;
    case 'arrow':
      return undefined;
    default:
      return output satisfies never;
  }
}

/**
 * What stands around a read whose rows become JSON objects: DuckDB refuses two members of one name, and writes numbers that are
 * none as `NaN`, which is no JSON. Undefined where such numbers may be inside nested values.
 */
function jsonRead(
  names: readonly string[],
  types: readonly DuckDBType[],
): readonly [string, string] | undefined {
  const plans = types.map(planType);
  if (plans.some((plan) => !isFloat(plan) && holdsFloats(plan))) return undefined;
  const unique = memberNames(names);
  const floats = unique.filter((_, index) => isFloat(plans[index] as TypePlan)).map(quoted);
  if (floats.length === 0 && unique.every((name, index) => name === names[index])) return ['', ''];
  const replaced = floats.map((name) => `${finite(name)} AS ${name}`).join(', ');
  const replace = floats.length === 0 ? '' : ` REPLACE (${replaced})`;
  return [`SELECT *${replace} FROM (`, `) AS result(${aliases(names)})`];
}

function finite(name: string): string {
  const others = [
    `WHEN isnan(${name}) THEN '"NaN"'::JSON`,
    `WHEN ${name} > 0 THEN '"Infinity"'::JSON`,
    `WHEN ${name} < 0 THEN '"-Infinity"'::JSON`,
  ];
  return `CASE WHEN isfinite(${name}) THEN to_json(${name}) ${others.join(' ')} END`;
}

function isFloat({ id }: TypePlan): boolean {
  return id === Id.FLOAT || id === Id.DOUBLE;
}

/** A VARIANT may hold anything. */
function holdsFloats(plan: TypePlan): boolean {
  return isFloat(plan) || plan.id === Id.VARIANT || plan.children.some(holdsFloats);
}

function aliases(names: readonly string[]): string {
  return memberNames(names).map(quoted).join(', ');
}

/** Names that differ in more than their case, as DuckDB wants them: the second `a` is `a:1`. */
function memberNames(names: readonly string[]): string[] {
  const given = new Set(names.map((name) => name.toLowerCase()));
  const taken = new Set<string>();
  return names.map((name) => {
    let unique = name === '' ? 'column' : name;
    for (let number = 1; taken.has(unique.toLowerCase()); number += 1) {
      const candidate = `${name}:${number}`;
      if (!given.has(candidate.toLowerCase())) unique = candidate;
    }
    taken.add(unique.toLowerCase());
    return unique;
  });
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
