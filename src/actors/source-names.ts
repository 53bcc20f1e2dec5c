/** What the sources of a query are called wherever they are told of: in logs, reports, and whatever goes by them. Pure. */
import type { QueryRequest } from './query.ts';

/** No alias has a colon. */
const INLINE = 'inline:';

/** An alias of the configuration as it is, and that of a source which the request brought along as `inline:alias`. */
export function sourceNames({
  sources,
  inline = [],
}: Pick<QueryRequest, 'sources' | 'inline'>): readonly string[] {
  return inline.length === 0 ? sources : [...sources, ...inline.map(({ alias }) => INLINE + alias)];
}

export function isInlineName(name: string): boolean {
  return name.startsWith(INLINE);
}

/** Whether one of these is that of a source which the request brought along as `alias`. */
export function hasInline(names: readonly string[], alias: string): boolean {
  return names.includes(INLINE + alias);
}
