/** Schemas of requests and replies as JSON Schema 2020-12, which is that of OpenAPI 3.1. */
import { z } from 'zod';

export type JsonSchema = { [key: string]: unknown };

/** Collects the schemas that have a name: `schema.meta({ id: 'Session' })` becomes `#/components/schemas/Session`. */
export class SchemaCollector {
  readonly components: Record<string, JsonSchema> = {};

  /** What a client may send (`input`), or what it is sent (`output`). */
  convert(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
    // As a member, so that a schema with a name is referred to wherever it stands.
    const whole = z.toJSONSchema(z.object({ it: schema }), {
      io,
      unrepresentable: 'any',
      override: ({ jsonSchema }) => simplify(jsonSchema as JsonSchema),
    }) as JsonSchema;
    const { $defs = {}, properties } = renamed(whole) as {
      $defs?: Record<string, JsonSchema>;
      properties: { it: JsonSchema };
    };
    Object.assign(this.components, $defs);
    return properties.it;
  }
}

/** Not for readers: that a whole number is one of JavaScript's, and half of a surrogate pair, which no JSON text in UTF-8 has. */
function simplify(schema: JsonSchema): void {
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
  if (typeof schema.pattern === 'string') schema.pattern = schema.pattern.replace('\\p{Surrogate}', '');
  delete schema.id;
}

function renamed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(renamed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) =>
      key === '$ref' && typeof item === 'string'
        ? [key, item.replace('#/$defs/', '#/components/schemas/')]
        : [key, renamed(item)],
    ),
  );
}
