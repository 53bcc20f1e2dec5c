/**
 * All that is wrong with the data of a configuration, in one pass as the operator sees it.
 *
 * A schema alone stops looking where it finds the first fault, so what is refused is taken out and the rest looked
 * at again, until the rest is well. Then the contradictions: those that rest on something refused are left out.
 */
import { type Contradiction, contradictions } from './contradictions.ts';
import { danglingNames } from './dangling-names.ts';
import { type Path, pathText, valueAt } from './problems.ts';
import type { Resolved } from './references.ts';
import { type Config, configSchema } from './schema.ts';

export interface Finding {
  readonly path: Path;
  readonly message: string;
  /** An unknown key's value is never shown: it may be a password under a misspelt name. */
  readonly hidden?: boolean;
}

export interface Validated {
  /** With the default in place of every value that was refused. */
  readonly config: Config;
  readonly findings: readonly Finding[];
}

export function validate(written: unknown, resolved: Resolved, insecure: boolean): Validated {
  const findings: Finding[] = [...resolved.failures, ...danglingNames(written, resolved.data)];
  const refused = new Paths(resolved.failures.map(({ path }) => path));
  const untyped = new Set(resolved.references);
  let data = structuredClone(resolved.data);

  for (;;) {
    const parsed = configSchema.safeParse(data);
    if (parsed.success) {
      const found = contradictions({
        config: parsed.data,
        written,
        references: resolved.references,
        insecure,
      });
      findings.push(...found.filter((contradiction) => !restsOnRefused(contradiction, refused)));
      return { config: parsed.data, findings };
    }
    const wrong = parsed.error.issues.flatMap(issueFindings);
    const toRemove: Path[] = [];
    for (const finding of wrong) {
      if (untyped.delete(pathText(finding.path)) && retype(data, finding.path)) continue;
      if (!refused.has(finding.path)) findings.push(finding);
      const present = nearestPresent(data, finding.path);
      toRemove.push(present);
      refused.add(finding.path);
      refused.add(present);
    }
    for (const path of toRemove) data = without(data, path);
  }
}

function restsOnRefused({ path, restsOn }: Contradiction, refused: Paths): boolean {
  return [path, ...restsOn].some((needed) => refused.overlaps(needed));
}

/** Found by what they are: there may be a problem for each of ten thousand sources. */
class Paths {
  readonly #paths = new Set<string>();
  readonly #above = new Set<string>();

  constructor(paths: readonly Path[]) {
    for (const path of paths) this.add(path);
  }

  add(path: Path): void {
    this.#paths.add(pathText(path));
    for (const above of prefixes(path)) this.#above.add(above);
  }

  has(path: Path): boolean {
    return this.#paths.has(pathText(path));
  }

  /** Whether one of them lies inside the path, or the path inside one of them, or is one. */
  overlaps(path: Path): boolean {
    return this.#above.has(pathText(path)) || prefixes(path).some((above) => this.#paths.has(above));
  }
}

/** The path texts of all that a path lies in, and its own. */
function prefixes(path: Path): string[] {
  return Array.from({ length: path.length + 1 }, (_, length) => pathText(path.slice(0, length)));
}

interface Issue {
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

function issueFindings(issue: Issue & { readonly keys?: unknown }): Finding[] {
  const path = issue.path.filter((part) => typeof part !== 'symbol');
  if (issue.code !== 'unrecognized_keys' || !Array.isArray(issue.keys))
    return [{ path, message: issue.message }];
  return issue.keys.map((key) => ({ path: [...path, String(key)], message: issue.message, hidden: true }));
}

/** A reference gives a text; where a number or a switch is wanted, `${env:PORT}` is read as one. True if it was. */
function retype(data: unknown, path: Path): boolean {
  const key = path.at(-1);
  const holder = valueAt(data, path.slice(0, -1));
  if (key === undefined || typeof holder !== 'object' || holder === null) return false;
  const values = holder as Record<string | number, unknown>;
  const text = values[key];
  if (typeof text !== 'string' || !/^(-?\d+(\.\d+)?|true|false)$/.test(text)) return false;
  values[key] = JSON.parse(text.replace(/^(-?)0+(?=\d)/, '$1'));
  return true;
}

/** What to take out for a finding: the value, the list it is in, or, for a key that is missing, what misses it. */
function nearestPresent(data: unknown, path: Path): Path {
  let present = path;
  while (present.length > 0 && (typeof present.at(-1) === 'number' || valueAt(data, present) === undefined)) {
    present = present.slice(0, -1);
  }
  return present;
}

function without(data: unknown, path: Path): unknown {
  const key = path.at(-1);
  if (key === undefined) return {};
  const holder = valueAt(data, path.slice(0, -1));
  if (typeof holder === 'object' && holder !== null) delete (holder as Record<string | number, unknown>)[key];
  return data;
}
