/**
 * How the nested values of a column are read, so that none is lost on the way through the binding's objects: members of a
 * struct go by their position, since names may repeat (`row(1, 2)`) or be `__proto__`, and each VARIANT brings its type along.
 */
import {
  DuckDBArrayType,
  DuckDBListType,
  DuckDBMapType,
  DuckDBStructType,
  type DuckDBType,
  DuckDBUnionType,
  DuckDBTypeId as Id,
} from '@duckdb/node-api';
import { planType, type TypePlan } from './type-plan.ts';

/** Made once for all chunks of a result. */
export interface ColumnReader {
  readonly type: DuckDBType;
  /** The type with numbers for the names of members. */
  readonly positional: DuckDBType;
  readonly hasVariants: boolean;
}

export function columnReader(type: DuckDBType): ColumnReader {
  return { type, positional: positional(type), hasVariants: hasVariants(planType(type)) };
}

function positional(type: DuckDBType): DuckDBType {
  const numbers = (names: readonly string[]) => names.map((_, index) => String(index));
  switch (type.typeId) {
    case Id.LIST:
      return new DuckDBListType(positional(type.valueType));
    case Id.ARRAY:
      return new DuckDBArrayType(positional(type.valueType), type.length);
    case Id.MAP:
      return new DuckDBMapType(positional(type.keyType), positional(type.valueType));
    case Id.STRUCT:
      return new DuckDBStructType(numbers(type.entryNames), type.entryTypes.map(positional));
    case Id.UNION:
      return new DuckDBUnionType(numbers(type.memberTags), type.memberTypes.map(positional));
    default:
      return type;
  }
}

function hasVariants(plan: TypePlan): boolean {
  return plan.id === Id.VARIANT || plan.children.some(hasVariants);
}

interface Variant {
  readonly value: unknown;
  readonly type?: DuckDBType;
}

/**
 * The value with a plan beside each VARIANT in it, in place of the binding's type, which is no plain data.
 * `inVariant` is where the binding has read objects by the names of their members.
 */
export function withPlans(value: unknown, type: DuckDBType, inVariant = false): unknown {
  if (value === null || value === undefined) return null;
  switch (type.typeId) {
    case Id.VARIANT: {
      const variant = value as Variant;
      if (variant.type === undefined) return null;
      return { plan: planType(variant.type), value: withPlans(variant.value, variant.type, true) };
    }
    case Id.LIST:
    case Id.ARRAY: {
      const { items } = value as { items: readonly unknown[] };
      return { items: items.map((item) => withPlans(item, type.valueType, inVariant)) };
    }
    case Id.STRUCT: {
      const { entries } = value as { entries: Readonly<Record<string, unknown>> };
      return {
        entries: type.entryTypes.map((entry, index) =>
          withPlans(entries[inVariant ? (type.entryNames[index] as string) : index], entry, inVariant),
        ),
      };
    }
    case Id.MAP: {
      const { entries } = value as { entries: readonly { key: unknown; value: unknown }[] };
      return {
        entries: entries.map((entry) => ({
          key: withPlans(entry.key, type.keyType, inVariant),
          value: withPlans(entry.value, type.valueType, inVariant),
        })),
      };
    }
    case Id.UNION: {
      const union = value as { tag: string; value: unknown };
      const member = type.memberTypes[Number(union.tag)] as DuckDBType;
      return { tag: union.tag, value: withPlans(union.value, member, inVariant) };
    }
    default:
      return value;
  }
}
