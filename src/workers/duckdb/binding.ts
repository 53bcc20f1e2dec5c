/**
 * DuckDB's binding, required rather than imported: for the names that a CommonJS package exports, `import` reads and scans each
 * of its files a second time, a fifth of what it costs to start a worker.
 */
import { createRequire } from 'node:module';
import type * as binding from '@duckdb/node-api';

export const {
  DuckDBArrayType,
  DuckDBInstance,
  DuckDBListType,
  DuckDBMapType,
  DuckDBMaterializedResult,
  DuckDBStructType,
  DuckDBTypeId,
  DuckDBUnionType,
  DuckDBVector,
  ResultReturnType,
  StatementType,
  version,
} = createRequire(import.meta.url)('@duckdb/node-api') as typeof binding;

// Their names as types, for whoever uses them as both.
export type DuckDBInstance = binding.DuckDBInstance;
export type DuckDBMaterializedResult = binding.DuckDBMaterializedResult;
export type DuckDBTypeId = binding.DuckDBTypeId;
export type StatementType = binding.StatementType;
