/** A type as plain data: what an encoder goes by, in a lane too, where there is no DuckDB. */
import type { DuckDBType } from '@duckdb/node-api';
import { DuckDBTypeId as Id } from '@duckdb/node-api/lib/DuckDBTypeId.js';

/** A column's type, as plain data. */
export interface TypePlan {
  readonly id: Id;
  /** Digits after the point, for DECIMAL. */
  readonly scale: number;
  /** LIST and ARRAY: the element. MAP: key, then value. STRUCT and UNION: the members. */
  readonly children: readonly TypePlan[];
  /** Member names of a STRUCT, tags of a UNION. */
  readonly names: readonly string[];
}

export function planType(type: DuckDBType): TypePlan {
  const plan = (
    children: readonly DuckDBType[] = [],
    names: readonly string[] = [],
    scale = 0,
  ): TypePlan => ({
    id: type.typeId,
    scale,
    children: children.map(planType),
    names,
  });
  switch (type.typeId) {
    case Id.DECIMAL:
      return plan([], [], type.scale);
    case Id.LIST:
    case Id.ARRAY:
      return plan([type.valueType]);
    case Id.MAP:
      return plan([type.keyType, type.valueType]);
    case Id.STRUCT:
      return plan(type.entryTypes, type.entryNames);
    case Id.UNION:
      return plan(type.memberTypes, type.memberTags);
    default:
      return plan();
  }
}
