/** The mistake everybody makes first: a query names a source that its request does not attach. */
import { Failure } from '../failures.ts';
import { mayUseSource } from '../principal.ts';
import type { QueryRequest } from './query.ts';

/** What stands in a message as names do: `"pg1"`, ` pg1.`, `'pg1!`. */
const NAMES = /(?<=["' ])[a-z_][a-z0-9_]*(?=["'.!])/g;

/** The same failure, with what to do where DuckDB does not know a name that is a source's, and one that the client may use. */
export function withSourceHint(failure: Failure, request: QueryRequest, aliases: readonly string[]): Failure {
  if (failure.code !== 'SQL_ERROR') return failure;
  const inline = new Set(request.inline?.map(({ alias }) => alias.toLowerCase()));
  const named = new Set(failure.message.toLowerCase().match(NAMES));
  const missing = aliases.find(
    (alias) =>
      named.has(alias.toLowerCase()) &&
      !request.sources.includes(alias) &&
      !inline.has(alias.toLowerCase()) &&
      mayUseSource(request.principal, alias),
  );
  if (missing === undefined) return failure;
  const hint = `${missing} is a configured source: name it in the request's sources.`;
  return new Failure('SQL_ERROR', `${failure.message}\n${hint}`, {
    members: failure.members,
    cause: failure.cause,
  });
}
