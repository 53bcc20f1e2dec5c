/** What a client asks of a kept result: `GET /v1/queries/{id}/result`. */
import type { Context } from 'koa';
import { z } from 'zod';
import type { Delivery } from '../actors/query.ts';
import { chooseFormat, FORMATS } from './formats.ts';
import { invalidRequest } from './invalid-request.ts';
import { parseJson } from './json.ts';
import { formatOf, type ResultPage } from './kept-results.ts';
import { readParameters } from './parameters.ts';
import { csvSchema, misplacedOptions, outputOf, rowFormatSchema } from './query-request.ts';

export const resultParameters = z.strictObject({
  format: z.enum(FORMATS, { error: `expected one of ${FORMATS.join(', ')}` }).optional(),
  row_format: rowFormatSchema.optional(),
  csv: z
    .string()
    .transform((text) => parseJson(text, 'csv'))
    .pipe(csvSchema)
    .optional(),
  offset: rows().default(0),
  limit: rows().optional(),
});

/**
 * The page that is asked for: all of the result without `offset` and `limit`. As `submitted` has it where neither `format` nor
 * `Accept` says more. Throws `INVALID_REQUEST` and `NOT_ACCEPTABLE`.
 */
export function parseResultPage(ctx: Context, submitted: Delivery | undefined): ResultPage {
  const asked = readParameters(ctx.querystring, resultParameters);
  const { accept } = ctx.req.headers;
  const isOpen = asked.format === undefined && (accept === undefined || accept === '*/*');
  const { offset, limit } = asked;
  if (isOpen && submitted !== undefined && asked.row_format === undefined && asked.csv === undefined)
    return { ...submitted, offset, limit };
  const format =
    isOpen && submitted !== undefined ? formatOf(submitted.output) : chooseFormat(ctx, asked.format);
  const misplaced = misplacedOptions(asked, format);
  if (misplaced.length > 0) throw invalidRequest(misplaced);
  const output = outputOf(format, asked.row_format, asked.csv);
  return { output, rowFormat: asked.row_format ?? 'arrays', offset, limit };
}

function rows() {
  return z
    .string()
    .regex(/^\d{1,15}$/, { error: 'expected a whole number, 0 or more' })
    .transform(Number);
}
