/**
 * `${env:NAME}` and `${file:path}` inside text values: credentials stay out of the file.
 *
 * A reference may be the whole text or a part of it, and what it stands for is taken as it is: it is not searched
 * for references again. `${file:...}` loses one line ending at its end, which editors and `echo` put there.
 * Any other `${` is refused, so that `${ENV:X}` never becomes a password by itself.
 */
import { type Path, pathText } from './problems.ts';

export interface ReferenceSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads the file a reference names, as text; throws when it cannot. */
  readonly readText: (path: string) => string;
}

export interface Resolved {
  /** A copy; a value whose reference failed is undefined. */
  readonly data: unknown;
  /** Path texts of the values that have a reference in them. */
  readonly references: ReadonlySet<string>;
  readonly failures: readonly { readonly path: Path; readonly message: string }[];
}

export function resolveReferences(data: unknown, sources: ReferenceSources): Resolved {
  const references = new Set<string>();
  const failures: { path: Path; message: string }[] = [];

  function walk(value: unknown, path: Path): unknown {
    if (typeof value === 'string') return value.includes('${') ? resolveText(value, path) : value;
    if (Array.isArray(value)) return value.map((item, index) => walk(item, [...path, index]));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item, [...path, key])]));
  }

  function resolveText(text: string, path: Path): string | undefined {
    references.add(pathText(path));
    const before = failures.length;
    const resolved = text.replace(/\$\{([^{}]*\}?)/g, (_, inside: string) => {
      const outcome = resolveOne(inside, sources);
      if ('message' in outcome) failures.push({ path, message: outcome.message });
      return 'text' in outcome ? outcome.text : '';
    });
    return failures.length === before ? resolved : undefined;
  }

  return { data: walk(data, []), references, failures };
}

/** `inside` is what follows `${`, with the closing brace if there is one. */
function resolveOne(
  inside: string,
  { env, readText }: ReferenceSources,
): { text: string } | { message: string } {
  const variable = /^env:([A-Za-z_][A-Za-z0-9_]*)\}$/.exec(inside)?.[1];
  if (variable !== undefined) {
    const text = env[variable];
    return text === undefined
      ? { message: `expected the environment variable ${variable} to be set` }
      : { text };
  }
  const file = /^file:([^}]+)\}$/.exec(inside)?.[1];
  if (file !== undefined) {
    try {
      return { text: readText(file).replace(/\r?\n$/, '') };
    } catch (error) {
      return { message: `expected a file that can be read (${errorCode(error)})` };
    }
  }
  return { message: `expected \${env:NAME} or \${file:path}` };
}

/** `ENOENT` and the like: an error's message may say more than is ours to show. */
export function errorCode(error: unknown): string {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code ?? 'unreadable';
}
