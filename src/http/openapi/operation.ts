/**
 * What a method of a route takes and replies, said where the route is registered: `routes.add(pattern, handlers, { operations })`.
 * `GET /openapi.json` is made of nothing else (document.ts), and a method without a description fails test/http/openapi.test.ts.
 *
 * ```ts
 * routes.add('/v1/things/{id}', { GET: show }, {
 *   operations: {
 *     GET: { summary: 'One thing', replies: { 200: { description: 'It', schema: thingDocument } }, failures: ['NOT_FOUND'] },
 *   },
 * });
 * ```
 * The schemas are those that requests are checked with, and that the types of replies are inferred from (../documents.ts).
 */
import type { z } from 'zod';
import type { FailureCode } from '../../failures.ts';

export interface Operation {
  readonly summary: string;
  readonly description?: string;
  /** The query string. */
  readonly query?: z.ZodObject;
  /** Parameters of the query string whose text is JSON, while the schema says what that holds. */
  readonly jsonQuery?: ReadonlySet<string>;
  /** The body as JSON. */
  readonly body?: z.ZodType;
  /** The body in other media types, beside or in place of JSON. */
  readonly textBodies?: readonly string[];
  /** Whether there may be none. */
  readonly bodyOptional?: boolean;
  /** By status. */
  readonly replies: Readonly<Record<number, Reply>>;
  /** Codes beside those that every route has, and those that its access and its body bring with them. */
  readonly failures?: readonly FailureCode[];
}

export interface Reply {
  readonly description: string;
  /** Of the reply as JSON. */
  readonly schema?: z.ZodType;
  /** Media types that are no JSON. */
  readonly types?: readonly string[];
  /** Names of headers, each with its meaning. */
  readonly headers?: Readonly<Record<string, string>>;
}
