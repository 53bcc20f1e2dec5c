/**
 * Parameters of a request, bound to a prepared statement: JSON scalars as they are, and `{"type","value"}` as
 * DuckDB itself casts the value to the type.
 */
import type { DuckDBConnection, DuckDBPreparedStatement } from '@duckdb/node-api';
import { readDuckDBError } from './duckdb-error.ts';
import { Refusal } from './refusal.ts';
import { isTypeName } from './type-name.ts';

type Parameters = readonly unknown[] | Readonly<Record<string, unknown>>;

/** Throws a {@link Refusal} for a wrong number of parameters, an unknown or missing name, or a value that is none. */
export async function bindParameters(
  connection: DuckDBConnection,
  prepared: DuckDBPreparedStatement,
  parameters: Parameters,
): Promise<void> {
  const names = namesOf(prepared);
  for (const [name, value] of pairs(names, parameters)) {
    const path = Array.isArray(parameters) ? `params[${Number(name) - 1}]` : `params.${name}`;
    await bindOne(connection, prepared, prepared.parameterIndex(name), path, value);
  }
}

function namesOf(prepared: DuckDBPreparedStatement): string[] {
  try {
    return Array.from({ length: prepared.parameterCount }, (_, index) => prepared.parameterName(index + 1));
  } catch {
    // DuckDB counts the parameters there are and looks them up by number: `$2` alone is none it can be given.
    throw Refusal.invalid('params', 'the statement numbers its parameters with gaps: they begin with $1');
  }
}

function pairs(names: readonly string[], parameters: Parameters): [string, unknown][] {
  if (Array.isArray(parameters)) {
    const positional = names.every((name) => /^\d+$/.test(name));
    if (!positional)
      throw Refusal.invalid('params', `expected an object with ${names.join(', ')}, got an array`);
    if (parameters.length !== names.length) {
      throw Refusal.invalid('params', `expected ${countOf(names.length)}, got ${parameters.length}`);
    }
    return names.map((name) => [name, parameters[Number(name) - 1]]);
  }
  const given = new Map(Object.entries(parameters));
  const missing = names.filter((name) => !given.has(name));
  const unknown = [...given.keys()].filter((name) => !names.includes(name));
  if (missing.length > 0)
    throw Refusal.invalid('params', `no value for ${missing.map((name) => `$${name}`).join(', ')}`);
  if (unknown.length > 0)
    throw Refusal.invalid('params', `the statement has no ${unknown.map((name) => `$${name}`).join(', ')}`);
  return names.map((name) => [name, given.get(name)]);
}

/** For people: `1 parameter`, `2 parameters`. */
export function countOf(parameters: number): string {
  return parameters === 1 ? '1 parameter' : `${parameters} parameters`;
}

async function bindOne(
  connection: DuckDBConnection,
  prepared: DuckDBPreparedStatement,
  index: number,
  path: string,
  value: unknown,
): Promise<void> {
  switch (typeof value) {
    case 'string':
      prepared.bindVarchar(index, value);
      return;
    case 'boolean':
      prepared.bindBoolean(index, value);
      return;
    case 'number':
      bindNumber(prepared, index, value);
      return;
    default:
      if (value === null) prepared.bindNull(index);
      else await bindTyped(connection, prepared, index, path, value);
  }
}

const INT32 = 2 ** 31;

function bindNumber(prepared: DuckDBPreparedStatement, index: number, value: number): void {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) prepared.bindDouble(index, value);
  else if (value >= -INT32 && value < INT32) prepared.bindInteger(index, value);
  else prepared.bindBigInt(index, BigInt(value));
}

async function bindTyped(
  connection: DuckDBConnection,
  prepared: DuckDBPreparedStatement,
  index: number,
  path: string,
  value: unknown,
): Promise<void> {
  const { type, value: inner, ...rest } = value as { type?: unknown; value?: unknown };
  if (Array.isArray(value) || typeof type !== 'string' || Object.keys(rest).length > 0) {
    throw Refusal.invalid(path, 'expected a JSON scalar or {"type", "value"}');
  }
  if (!isTypeName(type)) throw Refusal.invalid(`${path}.type`, `${JSON.stringify(type)} is no type`);
  if (inner === null || inner === undefined) {
    prepared.bindNull(index);
    return;
  }
  const nested = typeof inner === 'object';
  try {
    const cast = await connection.prepare(`SELECT CAST($1::${nested ? 'JSON' : 'VARCHAR'} AS ${type})`);
    try {
      cast.bindVarchar(1, nested ? JSON.stringify(inner) : String(inner));
      const result = await cast.runAndReadAll();
      prepared.bindValue(index, result.getRows()[0]?.[0] ?? null, result.columnType(0));
    } finally {
      cast.destroySync();
    }
  } catch (error) {
    const info = readDuckDBError(error);
    if (OUR_OWN.has(info.type)) throw error;
    throw Refusal.invalid(path, info.message);
  }
}

/** What a cast fails with that is not the value's fault. */
const OUR_OWN: ReadonlySet<string> = new Set(['INTERRUPT', 'Out of Memory', 'FATAL', 'INTERNAL']);
