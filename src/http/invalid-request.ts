/**
 * `INVALID_REQUEST` with everything that is wrong, each with its path: `sources[0]`, `params.since`, `tags["a b"]`.
 */
import type { z } from 'zod';
import { Failure } from '../failures.ts';

export interface RequestError {
  /** Empty for the body as a whole. */
  readonly path: string;
  readonly message: string;
}

/** What is told of more errors than this would only make the reply larger than the request. */
const MAX_ERRORS = 32;

export function invalidRequest(errors: readonly RequestError[]): Failure {
  const [first] = errors;
  const said =
    first === undefined ? '' : first.path === '' ? first.message : `${first.path}: ${first.message}`;
  const detail = errors.length > 1 ? `${errors.length} errors; the first: ${said}` : said;
  return new Failure('INVALID_REQUEST', `${detail}.`, { members: { errors: errors.slice(0, MAX_ERRORS) } });
}

/** Unknown keys become an error each, with the keys that are known. */
export function toRequestErrors(error: z.ZodError, known: readonly string[]): RequestError[] {
  return error.issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') return [{ path: formatPath(issue.path), message: issue.message }];
    const where = issue.path.length === 0 ? `; known are ${known.join(', ')}` : '';
    return issue.keys.map((key) => ({
      path: formatPath([...issue.path, key]),
      message: `unknown field${where}`,
    }));
  });
}

function formatPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (!/^[A-Za-z_$][\w$]*$/.test(String(step))) text += `[${JSON.stringify(String(step))}]`;
    else text += text === '' ? String(step) : `.${String(step)}`;
  }
  return text;
}
