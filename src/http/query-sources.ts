/** The field `sources` of a request: aliases of configured sources, and sources that it brings along. */
import { z } from 'zod';
import { type InlineSource, inlineContradictions, inlineSource } from '../config/inline-sources.ts';
import { isMapping } from '../config/problems.ts';
import { SOURCE_KINDS } from '../config/sources.ts';

const MAX_INLINE = 16;

export interface QuerySources {
  readonly sources: readonly string[];
  readonly inline: readonly InlineSource[];
}

export const NO_SOURCES: QuerySources = { sources: [], inline: [] };

/** The schema of one item, for the documents. What it may say is inline-sources.ts's question. */
const item = z.unknown().meta({
  oneOf: [
    { type: 'string', description: 'The alias of a configured source.' },
    {
      type: 'object',
      description:
        'A source for this request alone: its alias, its kind, and what the configuration of one of that kind may have.',
      required: ['alias', 'kind'],
      properties: {
        alias: { type: 'string', description: 'What it is called in SQL.' },
        kind: { type: 'string', enum: [...SOURCE_KINDS] },
      },
      additionalProperties: true,
    },
  ],
});

export const sourcesSchema = z
  .array(item, { error: 'expected an array of source aliases and sources' })
  .transform(read);

function read(items: readonly unknown[], context: z.RefinementCtx<unknown>): QuerySources {
  const refuse = (path: readonly PropertyKey[], message: string) =>
    context.addIssue({ code: 'custom', path: [...path], message });
  const sources: string[] = [];
  const inline: { readonly index: number; readonly source: InlineSource }[] = [];
  const objects = items.filter(isMapping);
  if (objects.length > MAX_INLINE) {
    refuse([], `has ${objects.length} inline sources; ${MAX_INLINE} at most`);
    return NO_SOURCES;
  }
  let isWell = true;
  for (const [index, item] of items.entries()) {
    if (typeof item === 'string') sources.push(item);
    else if (isMapping(item)) {
      const source = inlineSource(item);
      if (!('problems' in source)) inline.push({ index, source });
      else for (const { path, message } of source.problems) refuse([index, ...path], message);
      isWell &&= !('problems' in source);
    } else refuse([index], 'expected the alias of a source, or a source');
  }
  for (const { path, message } of repeated(items)) refuse(path, message);
  if (isWell)
    for (const { index, problem } of inlineContradictions(inline.map(({ source }) => source)))
      refuse([inline[index]?.index ?? 0, ...problem.path], problem.message);
  return { sources, inline: inline.map(({ source }) => source) };
}

/** DuckDB does not tell names apart by their case. */
function repeated(items: readonly unknown[]): { readonly path: PropertyKey[]; readonly message: string }[] {
  const seen = new Set<string>();
  return items.flatMap((item, index) => {
    const alias = isMapping(item) ? item.alias : item;
    if (typeof alias !== 'string') return [];
    const name = alias.toLowerCase();
    if (!seen.has(name)) {
      seen.add(name);
      return [];
    }
    if (!isMapping(item)) return { path: [index], message: `${JSON.stringify(item)} is named twice` };
    return { path: [index, 'alias'], message: 'expected a name that no other source of the request has' };
  });
}
