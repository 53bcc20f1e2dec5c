/**
 * Names of sources and pools, said of a principal, that no source and no pool has.
 *
 * Looks at the data as it stands and not at the parsed configuration: a principal whose key is refused is told of
 * its unknown sources all the same, and a source that is there but wrong is no unknown one.
 */
import { listed } from '../listed.ts';
import { isMapping, type Path, valueAt } from './problems.ts';

/** `written` is the data of the file, `data` the same with its references resolved. */
export function danglingNames(written: unknown, data: unknown): { path: Path; message: string }[] {
  const principals = valueAt(data, ['auth', 'principals']);
  if (!isMapping(principals)) return [];
  return (['sources', 'pools'] as const).flatMap((kind) => {
    const known = knownNames(written, kind);
    if (known === undefined) return [];
    const message =
      known.size > 0
        ? `expected one of the ${kind}: ${listed([...known])}`
        : `expected none: there are no ${kind}`;
    return Object.entries(principals).flatMap(([principal, value]) => {
      const names = valueAt(value, [kind]);
      if (!Array.isArray(names)) return [];
      return names.flatMap((name, index) => {
        if (typeof name !== 'string' || name === '' || known.has(name)) return [];
        return [{ path: ['auth', 'principals', principal, kind, index], message }];
      });
    });
  });
}

/** Undefined when what stands there is no mapping of names, which is a problem of its own. */
function knownNames(written: unknown, kind: 'sources' | 'pools'): ReadonlySet<string> | undefined {
  const configured = valueAt(written, [kind]) ?? {};
  if (!isMapping(configured)) return undefined;
  const names = Object.keys(configured);
  return new Set(kind === 'pools' && names.length === 0 ? ['interactive'] : names);
}
