/** The syntax tree that DuckDB itself makes of a statement (`json_serialize_sql`), as far as the guard looks at it. */
import type { DuckDBConnection } from '@duckdb/node-api';
import { readDuckDBError } from './duckdb-error.ts';

/** A call in the tree, wherever it stands. */
export interface FunctionCall {
  /** As written, without its catalog and schema. */
  readonly name: string;
  /** It stands where a table would. */
  readonly isTable: boolean;
  /** Its arguments, those that are a text as it stands. */
  readonly texts: readonly (string | undefined)[];
}

/**
 * Undefined for what is not a SELECT, or cannot be parsed, and in a transaction that has failed, which answers nothing before its
 * ROLLBACK. DuckDB parses the text for it and binds nothing.
 */
export async function syntaxTree(connection: DuckDBConnection, statement: string): Promise<unknown> {
  try {
    const reader = await connection.runAndReadAll('SELECT json_serialize_sql($1::VARCHAR)', [statement]);
    const tree = JSON.parse(String(reader.getRows()[0]?.[0])) as { error: boolean };
    return tree.error ? undefined : tree;
  } catch (error) {
    if (readDuckDBError(error).type === 'TransactionContext') return undefined;
    throw error;
  }
}

/** All calls of a tree, however deep they are. */
export function* functionCalls(root: unknown): Generator<FunctionCall> {
  // Without recursion: a tree may be deeper than the stack.
  const pending: { readonly node: unknown; readonly isTable: boolean }[] = [{ node: root, isTable: false }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { node, isTable } = next;
    if (typeof node !== 'object' || node === null) continue;
    if ('function_name' in node) {
      yield { name: String(node.function_name), isTable, texts: textsOf(node) };
    }
    const ofTable = 'type' in node && node.type === 'TABLE_FUNCTION';
    for (const [key, member] of Object.entries(node))
      pending.push({ node: member, isTable: ofTable && key === 'function' });
  }
}

function textsOf(node: object): (string | undefined)[] {
  const children: unknown = 'children' in node ? node.children : undefined;
  return Array.isArray(children) ? children.map(textOf) : [];
}

function textOf(node: {
  readonly type?: unknown;
  readonly value?: { readonly type?: { readonly id?: unknown }; readonly value?: unknown };
}): string | undefined {
  if (node.type !== 'VALUE_CONSTANT' || node.value?.type?.id !== 'VARCHAR') return undefined;
  return typeof node.value.value === 'string' ? node.value.value : undefined;
}
