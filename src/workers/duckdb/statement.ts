/**
 * One request's SQL on one leased connection: taken apart, checked, prepared, bound, run; the last statement's result
 * is what the client gets.
 */
import {
  type DuckDBConnection,
  type DuckDBPreparedStatement,
  type DuckDBResult,
  type DuckDBType,
  ResultReturnType,
  StatementType,
} from '@duckdb/node-api';
import type { Run } from '../protocol.ts';
import { abandon } from './abandon.ts';
import { readDuckDBError } from './duckdb-error.ts';
import type { Findings, Guard } from './guard.ts';
import type { Lease } from './instances.ts';
import { bindParameters, countOf } from './parameters.ts';
import type { KeptStatement, ReusableStatement } from './prepared-cache.ts';
import { Refusal } from './refusal.ts';
import { headOf, type StatementText, splitStatements } from './sql-text.ts';

export interface StatementSteps {
  /** Before DuckDB plans a statement, which begins at byte `offset` of the text. */
  preparing(offset: number): void;
  /** Before DuckDB runs a statement, which is a pure read or may change something. */
  running(reads: boolean): void;
  /** Before {@link running}, of a statement as it stands; throws where there is no room for what it may write. */
  admit?(type: StatementType): Promise<void>;
  /** Throws when the statement has been interrupted. */
  checkpoint(): void;
}

/** What is run in place of a read, to have its rows in another form. */
export interface Rewritten {
  readonly sql: string;
  /** Bytes in it before the text of the read. */
  readonly before: number;
  /** It gives its result at its end, in one piece. */
  readonly whole: boolean;
  /** There is no other way: what DuckDB says against it is what the client hears. */
  readonly required: boolean;
  /** Of the columns of the read. */
  readonly names: readonly string[];
}

/** Undefined where the read is to run as it stands. */
export type Rewrite = (
  text: string,
  columns: { readonly names: readonly string[]; readonly types: readonly DuckDBType[] },
) => Rewritten | undefined;

export interface Outcome {
  readonly result: DuckDBResult;
  /** Whose result that is, where it is not the statement's own. */
  readonly rewritten: Rewritten | undefined;
  /** Whether every statement was a pure read, so that the instance is as it was. */
  readonly clean: boolean;
  /** The statement, where it may be kept for the next time (prepared-cache.ts). */
  readonly reusable: ReusableStatement | undefined;
  /** What to throw where the result turns out to have failed on its way ({@link hasFailed}). */
  readonly failure: () => Promise<unknown>;
}

type Request = Pick<Run, 'sql' | 'params' | 'write' | 'rowLimit' | 'byteLimit' | 'attachments'>;

interface Context {
  readonly connection: DuckDBConnection;
  readonly guard: Guard;
  readonly request: Request;
  readonly steps: StatementSteps;
  readonly rewrite: Rewrite | undefined;
}

/**
 * Runs all statements of the text, the last one as `rewrite` has it where that is a read and DuckDB takes it so. Throws
 * DuckDB's errors as they are, and a {@link Refusal} for what is not allowed.
 */
export async function runStatements(
  { connection, kept }: Pick<Lease, 'connection' | 'kept'>,
  guard: Guard,
  request: Request,
  steps: StatementSteps,
  rewrite?: Rewrite,
): Promise<Outcome> {
  const known = kept?.get(request.sql);
  if (known !== undefined) return await runKept({ connection, guard, request, steps, rewrite }, known);
  // DuckDB's interface takes text that ends at the first NUL: what is run would not be what is read.
  if (request.sql.includes('\0')) throw Refusal.invalid('sql', 'the text has a NUL character in it');
  const statements = splitStatements(request.sql);
  const context: Context = { connection, guard, request, steps, rewrite };
  let clean = true;
  for (const [index, { text, offset }] of statements.entries()) {
    steps.checkpoint();
    steps.preparing(offset);
    const findings = await guard.checkText(connection, text, request.attachments);
    steps.checkpoint();
    const keep = kept !== undefined && statements.length === 1;
    const last = index === statements.length - 1;
    const outcome = await runStatement(context, { text, offset }, findings, { last, keep });
    clean &&= outcome.clean;
    const { result, prepared, rewritten } = outcome;
    const reusable = prepared === undefined ? undefined : { prepared, text, offset };
    const failure = () => failureOf(context, text, offset, outcome.clean);
    if (result !== undefined) return { result, rewritten, clean, reusable, failure };
    if (outcome.failed) throw await failure();
  }
  throw Refusal.invalid('sql', 'expected a statement, got none');
}

/**
 * Runs a read that is prepared and was checked before. Where its last result was small the whole of the next one is fetched
 * with it, in one round through another thread in place of three. With parameters it may be large this time, and with limits
 * it is to stop there: then it streams.
 */
async function runKept(context: Context, { prepared, small, text, offset }: KeptStatement): Promise<Outcome> {
  const { params, rowLimit, byteLimit } = context.request;
  context.steps.preparing(offset);
  const whole = small && params === undefined && rowLimit === undefined && byteLimit === undefined;
  const result = await runPrepared(context, prepared, { last: true, reads: true, whole });
  const failure = () => failureOf(context, text, offset, true);
  return { result, rewritten: undefined, clean: true, reusable: { prepared, text, offset }, failure };
}

interface Ran {
  readonly clean: boolean;
  /** Where it stays prepared. */
  readonly prepared: DuckDBPreparedStatement | undefined;
  /** Of the last statement. */
  readonly result: DuckDBResult | undefined;
  readonly rewritten?: Rewritten | undefined;
  /** Whether an earlier one failed on its way. */
  readonly failed: boolean;
}

/**
 * Runs one statement. Its result is for the last one only; an earlier one is run to its end. With `keep` a read stays
 * prepared, until its connection is closed.
 */
async function runStatement(
  context: Context,
  { text, offset }: StatementText,
  { remoteWrite }: Findings,
  { last, keep }: { readonly last: boolean; readonly keep: boolean },
): Promise<Ran> {
  const { connection, guard, request } = context;
  let prepared: DuckDBPreparedStatement;
  try {
    // In a single step: extracting and preparing takes two, each a round through another thread.
    prepared = await connection.prepare(text);
  } catch (error) {
    // What DuckDB says of a statement that it has made several of, and of other misuse.
    if (readDuckDBError(error).type !== 'Invalid Input') throw error;
    return await runRewritten(context, text, last, error);
  }
  let kept = false;
  try {
    const effect = await effectOf(connection, guard, prepared, text, request.write);
    const clean = effect === 'read' && !remoteWrite;
    if (!clean) await context.steps.admit?.(prepared.statementType);
    if (last && clean && context.rewrite !== undefined) {
      const rewritten = await runInOtherForm(context, context.rewrite, text, offset, prepared);
      if (rewritten !== undefined) return rewritten;
    }
    const result = await runPrepared(context, prepared, { last, reads: clean });
    kept = keep && clean;
    return { ...ran(result, last), clean, prepared: kept ? prepared : undefined };
  } finally {
    if (!kept) prepared.destroySync();
  }
}

/** What an error of preparing says of the worker rather than of the text. */
const NOT_OF_THE_TEXT: ReadonlySet<string> = new Set(['INTERRUPT', 'FATAL', 'INTERNAL', 'Out of Memory']);

/**
 * Runs a read, which has been checked and prepared as it stands, in the form that is wanted. Undefined where there is no other
 * form, or DuckDB does not take it (COPY has no DESCRIBE, for one).
 */
async function runInOtherForm(
  context: Context,
  rewrite: Rewrite,
  text: string,
  offset: number,
  prepared: DuckDBPreparedStatement,
): Promise<Ran | undefined> {
  if (prepared.statementType !== StatementType.SELECT) return undefined;
  const indexes = Array.from({ length: prepared.columnCount }, (_, index) => index);
  const names = indexes.map((index) => prepared.columnName(index));
  const rewritten = rewrite(text, { names, types: indexes.map((index) => prepared.columnType(index)) });
  if (rewritten === undefined) return undefined;
  let other: DuckDBPreparedStatement;
  try {
    other = await context.connection.prepare(rewritten.sql);
  } catch (error) {
    if (rewritten.required || NOT_OF_THE_TEXT.has(readDuckDBError(error).type)) throw error;
    return undefined;
  }
  // What DuckDB says of a place is said of the other text.
  context.steps.preparing(offset - rewritten.before);
  return await using(other, async () => {
    const result = await runPrepared(context, other, { last: true, reads: true, whole: rewritten.whole });
    return { ...ran(result, true), clean: true, prepared: undefined, rewritten };
  });
}

/**
 * Runs a statement that DuckDB rewrites to several: a PIVOT, before which it makes a temporary type of the values it finds.
 * Anything else that is more than one statement (some PRAGMAs are) is refused.
 */
async function runRewritten(context: Context, text: string, last: boolean, error: unknown): Promise<Ran> {
  const { connection, guard, request } = context;
  const statements = await connection.extractStatements(text);
  if (statements.count === 1) throw error;
  if (!isSurelyOne(text))
    throw Refusal.invalid('sql', 'a PIVOT with a semicolon in it must be plain ASCII, without $ and \\');
  for (let index = 0; index < statements.count - 1; index += 1) {
    await using(await statements.prepare(index), async (prepared) => {
      const type = prepared.statementType;
      if (type !== StatementType.CREATE || !/pivot/i.test(text))
        throw Refusal.forbiddenStatement(StatementType[type] ?? 'unknown');
      // A temporary type, of an instance that is thrown away.
      const made = await runPrepared(context, prepared, { last: false, reads: true });
      if (hasFailed(made)) throw new LostFailure();
    });
    context.steps.checkpoint();
  }
  return await using(await statements.prepare(statements.count - 1), async (prepared) => {
    const reads = guard.checkStatement(prepared, request.write) === 'read';
    return {
      ...ran(await runPrepared(context, prepared, { last, reads }), last),
      clean: false,
      prepared: undefined,
    };
  });
}

/**
 * Whether DuckDB can see no second statement in a text that our lexer takes for one: there is no semicolon at all, or nothing that
 * the two could read differently.
 */
function isSurelyOne(text: string): boolean {
  return !text.includes(';') || /^[\t\n\r -#%-[\]-~]*$/.test(text);
}

async function runPrepared(
  { connection, request: { params }, steps }: Context,
  prepared: DuckDBPreparedStatement,
  {
    last,
    reads,
    whole = false,
  }: { readonly last: boolean; readonly reads: boolean; readonly whole?: boolean },
): Promise<DuckDBResult> {
  if (last && params !== undefined) await bindParameters(connection, prepared, params);
  else if (prepared.parameterCount > 0) {
    const message = last
      ? `expected ${countOf(prepared.parameterCount)}, got none`
      : 'only the last statement takes parameters';
    throw Refusal.invalid('params', message);
  }
  steps.checkpoint();
  steps.running(reads);
  const result = await (whole ? prepared.run() : prepared.stream());
  if (last) return result;
  try {
    while ((await result.fetchChunk())?.rowCount) steps.checkpoint();
  } catch (error) {
    await abandon(connection, result);
    throw error;
  }
  return result;
}

function ran(result: DuckDBResult, last: boolean): Pick<Ran, 'result' | 'failed'> {
  return { result: last ? result : undefined, failed: !last && hasFailed(result) };
}

/** Whether a result that gives no more rows ended with an error: to the binding that is an end like any other. */
export function hasFailed(result: DuckDBResult): boolean {
  return result.returnType === ResultReturnType.INVALID;
}

/** Of a statement that, run once more, does not fail. */
export class LostFailure extends Error {
  override readonly name = 'LostFailure';

  constructor() {
    super(FAILED);
  }
}

const FAILED = 'The statement failed after some of its rows, and DuckDB does not say why.';
/** What says of the statement that is run in place of another no more than that it is another. */
const OF_THE_PROBE: ReadonlySet<string> = new Set(['Parser', 'Binder', 'Catalog', 'Not implemented']);

/**
 * Why a result failed on its way. `duckdb_fetch_chunk` gives NULL for that as for the end, and the binding keeps DuckDB's
 * text of the error to itself, so a read is run once more, for nothing but its failure and without keeping a row.
 */
async function failureOf(context: Context, text: string, offset: number, clean: boolean): Promise<unknown> {
  const lost = new LostFailure();
  const { connection, request, steps } = context;
  steps.checkpoint();
  if (!clean) return lost;
  const before = 'SELECT max(hash(every)) FROM (';
  steps.preparing(offset - before.length);
  try {
    const prepared = await connection.prepare(`${before}${text}\n) AS every`);
    await using(prepared, async () => {
      if (request.params !== undefined) await bindParameters(connection, prepared, request.params);
      steps.checkpoint();
      steps.running(true);
      await prepared.run();
    });
  } catch (error) {
    return OF_THE_PROBE.has(readDuckDBError(error).type) ? lost : error;
  }
  return lost;
}

async function using<Value>(
  prepared: DuckDBPreparedStatement,
  use: (prepared: DuckDBPreparedStatement) => Promise<Value>,
): Promise<Value> {
  try {
    return await use(prepared);
  } finally {
    prepared.destroySync();
  }
}

/** What a statement does to the instance; an EXPLAIN does what the statement behind it does. */
async function effectOf(
  connection: DuckDBConnection,
  guard: Guard,
  prepared: DuckDBPreparedStatement,
  text: string,
  write: boolean,
): Promise<'read' | 'write'> {
  if (prepared.statementType !== StatementType.EXPLAIN) return guard.checkStatement(prepared, write);
  const { explained } = headOf(text);
  if (explained === undefined) throw Refusal.forbiddenStatement('EXPLAIN');
  return await using(await connection.prepare(explained), async (inner) =>
    guard.checkStatement(inner, write),
  );
}
