/** The query string of a listing: every parameter at most once, none that is unknown. */
import { z } from 'zod';
import { invalidRequest, toRequestErrors } from './invalid-request.ts';
import { checkEncoding } from './query-fields.ts';

/** Throws `INVALID_REQUEST` with everything that is wrong. */
export function readParameters<Schema extends z.ZodObject>(
  querystring: string,
  schema: Schema,
): z.output<Schema> {
  const pairs = [...new URLSearchParams(checkEncoding(querystring))];
  const names = pairs.map(([name]) => name);
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined) throw invalidRequest([{ path: repeated, message: 'given more than once' }]);
  const result = schema.safeParse(Object.fromEntries(pairs));
  if (!result.success) throw invalidRequest(toRequestErrors(result.error, Object.keys(schema.shape)));
  return result.data;
}

/** Entries of one page. */
export function pageLimit() {
  return z
    .string()
    .regex(/^0*([1-9]\d{0,2}|1000)$/, { error: 'expected a whole number from 1 to 1000' })
    .transform(Number)
    .default(100);
}
