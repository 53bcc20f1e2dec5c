/**
 * Verdicts of a size that the control channel takes, whatever a statement made DuckDB say: an error may quote a name of
 * megabytes, and a line that is too long would end the worker as if it had broken the protocol.
 */
import type { FailedVerdict } from './protocol.ts';

/** Characters; a control character takes six when it is written as JSON. */
const MAX_STRING = 16_384;
const MAX_ITEMS = 64;
const MAX_MEMBERS = 1024 * 1024;

/** The same verdict with what is too long cut, and said to be. */
export function boundedVerdict(verdict: FailedVerdict): FailedVerdict {
  const detail = cut(verdict.detail);
  const members = bounded(verdict.members) as FailedVerdict['members'];
  return { ...verdict, detail, members: JSON.stringify(members).length > MAX_MEMBERS ? {} : members };
}

function bounded(value: unknown): unknown {
  if (typeof value === 'string') return cut(value);
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map(bounded);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, bounded(member)]));
}

function cut(text: string): string {
  return text.length <= MAX_STRING ? text : `${text.slice(0, MAX_STRING)} ... (${text.length} characters)`;
}
