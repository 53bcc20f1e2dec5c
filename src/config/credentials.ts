/**
 * Credentials of sources that were replaced while the server runs. They are in memory only.
 *
 * They hold across reloads as long as the file says the same of the source as when they were put; a file that says something else
 * of it has the last word.
 */
import { z } from 'zod';
import { isSame } from './changes.ts';
import { mapping, secret, text } from './fields.ts';
import type { Config } from './schema.ts';
import type { SourceConfig, SourceKind } from './sources.ts';

const server = mapping({ user: text().optional(), password: secret() });

/** What the credentials of each kind are. Those that are optional and not given: a `user` stays, a `session_token` is gone. */
const CREDENTIALS = {
  postgres: server,
  mysql: server,
  s3: mapping({ key_id: secret(), secret: secret(), session_token: secret().optional() }),
  http: mapping({ bearer_token: secret() }),
} as const satisfies Partial<Record<SourceKind, z.ZodType>>;

/** Those of any kind. */
export const credentialsSchema = z.union([server, CREDENTIALS.s3, CREDENTIALS.http]);

export type CredentialProblem = { readonly path: string; readonly message: string };

/** The source with these credentials, or what is wrong with them; no value is in any message. */
export function withCredentials(
  source: SourceConfig,
  credentials: unknown,
): { readonly source: SourceConfig } | { readonly problems: readonly CredentialProblem[] } {
  const { kind } = source;
  const schema = kind in CREDENTIALS ? CREDENTIALS[kind as keyof typeof CREDENTIALS] : undefined;
  if (schema === undefined)
    return { problems: [{ path: '', message: `sources of kind ${kind} have no credentials` }] };
  const parsed = schema.safeParse(credentials);
  if (!parsed.success) {
    // A name that nobody knows may be the secret itself, in the wrong place: of unknown keys only what is known is told.
    const problems = parsed.error.issues.map(({ path, message }) => ({
      path: path.map(String).join('.'),
      message,
    }));
    return { problems };
  }
  const { session_token: _, ...rest } = source as SourceConfig & { session_token?: unknown };
  return { source: { ...rest, ...parsed.data } as SourceConfig };
}

interface Replaced {
  /** As the file has it. */
  readonly inFile: SourceConfig;
  readonly inForce: SourceConfig;
}

export class ReplacedCredentials {
  readonly #replaced = new Map<string, Replaced>();

  /** `inForce` is the source from now on; `before` it was so. */
  put(alias: string, before: SourceConfig, inForce: SourceConfig): void {
    const inFile = this.#replaced.get(alias)?.inFile ?? before;
    this.#replaced.set(alias, { inFile, inForce });
  }

  /** The configuration of a file, with those that still hold. */
  apply(config: Config): Config {
    const sources: Config['sources'] = Object.assign(Object.create(null), config.sources);
    for (const [alias, { inFile, inForce }] of this.#replaced) {
      const source = Object.hasOwn(config.sources, alias) ? config.sources[alias] : undefined;
      if (source !== undefined && isSame(source, inFile)) sources[alias] = inForce;
      else this.#replaced.delete(alias);
    }
    return { ...config, sources };
  }
}
