/**
 * Statements that stay prepared on a connection, by their text: an application sends the same few again and again, and
 * preparing is a third of what a point query costs. Only single reads on an instance without sources are kept: what such a
 * statement is bound to cannot change. The least recently used one goes first.
 */
import type { DuckDBPreparedStatement } from '@duckdb/node-api';

/** A prepared read, with the text DuckDB has of it and where that begins in the request's, in bytes. */
export interface ReusableStatement {
  readonly prepared: DuckDBPreparedStatement;
  readonly text: string;
  readonly offset: number;
}

export interface KeptStatement extends ReusableStatement {
  /** Its last result had one chunk at most. */
  readonly small: boolean;
}

const MAX_STATEMENTS = 64;
const MAX_TEXT = 4_096;
/** Rows of a chunk (DuckDB, STANDARD_VECTOR_SIZE). */
const CHUNK_ROWS = 2_048;

export class PreparedCache {
  readonly #statements = new Map<string, KeptStatement>();

  get(sql: string): KeptStatement | undefined {
    return this.#statements.get(sql);
  }

  /** Takes a statement that has given so many rows, as the last one used, without the parameters it had. */
  keep(sql: string, statement: ReusableStatement, rows: number): void {
    this.#statements.delete(sql);
    if (sql.length > MAX_TEXT) {
      statement.prepared.destroySync();
      return;
    }
    statement.prepared.clearBindings();
    this.#statements.set(sql, { ...statement, small: rows <= CHUNK_ROWS });
    if (this.#statements.size > MAX_STATEMENTS) this.#dropOldest();
  }

  /** A statement that may not be used again. */
  drop(sql: string, { prepared }: ReusableStatement): void {
    this.#statements.delete(sql);
    prepared.destroySync();
  }

  /** Before the connection is closed. */
  clear(): void {
    for (const { prepared } of this.#statements.values()) prepared.destroySync();
    this.#statements.clear();
  }

  #dropOldest(): void {
    for (const [sql, statement] of this.#statements) {
      this.drop(sql, statement);
      return;
    }
  }
}
