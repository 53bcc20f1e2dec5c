/**
 * JSON from a stranger: refused where it is no JSON, is nested deeper than anybody means it, or has a key that
 * changes what an object is.
 */
import { invalidRequest } from './invalid-request.ts';

/** Deeper than any parameter is; low enough that no recursion over the value can exhaust the stack. */
export const MAX_JSON_DEPTH = 64;

/** Throws `INVALID_REQUEST`; `path` is the field that holds the text, empty for the body. */
export function parseJson(text: string, path = ''): unknown {
  let value: unknown;
  try {
    // V8 parses without recursion, so the depth can be looked at afterwards.
    value = JSON.parse(text);
  } catch (error) {
    throw invalidRequest([{ path, message: `not valid JSON: ${(error as Error).message}` }]);
  }
  const problem = findProblem(value, 1);
  if (problem !== undefined) throw invalidRequest([{ path, message: problem }]);
  return value;
}

function findProblem(value: unknown, depth: number): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth > MAX_JSON_DEPTH) return `JSON is nested more than ${MAX_JSON_DEPTH} levels deep`;
  if (Array.isArray(value)) {
    for (const item of value) {
      const problem = findProblem(item, depth + 1);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }
  for (const key of Object.keys(value)) {
    if (key === '__proto__') return 'the key "__proto__" is not allowed';
    const problem = findProblem((value as Record<string, unknown>)[key], depth + 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}
