/**
 * `duckcoop keys new NAME`: a random key on standard output, for the client, and on standard error what the server's
 * configuration says of it, as YAML. The key itself is kept nowhere: the configuration holds its SHA-256.
 */
import { hash, randomBytes } from 'node:crypto';
import { Document, isMap } from 'yaml';
import { PRINCIPAL_NAME } from '../config/auth.ts';
import { LABEL, type NameRule, nameProblem } from '../config/fields.ts';
import { SOURCE_ALIAS, SOURCE_KINDS } from '../config/sources.ts';
import type { Role } from '../principal.ts';
import { CliError, EXIT, messageOf } from './exit.ts';

export interface KeysOptions {
  readonly role: Role;
  readonly sources?: readonly string[];
  readonly pools?: readonly string[];
  /** Kinds. */
  readonly inlineSources?: readonly string[];
}

/** 256 bits: nobody guesses one, so it needs neither salt nor a slow hash. */
const KEY_BYTES = 32;

/** Rejects with a {@link CliError} for a name that the configuration would refuse, and where the key cannot be written. */
export async function keysNew(name: string, options: KeysOptions): Promise<void> {
  requireName('principal', name, PRINCIPAL_NAME);
  for (const alias of options.sources ?? []) requireName('source', alias, SOURCE_ALIAS);
  for (const pool of options.pools ?? []) requireName('pool', pool, LABEL);
  for (const kind of options.inlineSources ?? [])
    if (!SOURCE_KINDS.some((known) => known === kind))
      throw new CliError(
        EXIT.usage,
        `inline source ${JSON.stringify(kind)}: expected one of ${SOURCE_KINDS.join(', ')}`,
      );
  const key = `dck_${randomBytes(KEY_BYTES).toString('base64url')}`;
  await print(key);
  process.stderr.write(configurationOf(name, key, options));
}

/** A whole configuration by itself, the advice in comments: `2> duckcoop.yaml` makes one that can be served. */
function configurationOf(
  name: string,
  key: string,
  { role, sources, pools, inlineSources }: KeysOptions,
): string {
  const principal = {
    key_hash: `sha256:${hash('sha256', key)}`,
    role,
    ...(sources !== undefined && { sources }),
    ...(pools !== undefined && { pools }),
    ...(inlineSources !== undefined && { inline_sources: inlineSources }),
  };
  const document = new Document({ auth: { mode: 'api_keys', principals: { [name]: principal } } });
  const node = document.getIn(['auth', 'principals', name], true);
  if (isMap(node)) node.flow = true;
  return [
    "# For the server's configuration. The key is on standard output, and nowhere else.",
    document.toString({ lineWidth: 0 }).trimEnd(),
    '# The client sends "Authorization: Bearer KEY"; duckcoop query takes the key from DUCKCOOP_KEY or --key-file.',
    '',
  ].join('\n');
}

function requireName(what: string, name: string, rule: NameRule): void {
  const problem = nameProblem(name, rule);
  if (problem !== undefined) throw new CliError(EXIT.usage, `${what} ${JSON.stringify(name)}: ${problem}`);
}

/** A key that was not written is lost: nobody shall put its hash into a configuration. */
function print(line: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(`${line}\n`, (error) => {
      if (error == null) resolve();
      else reject(new CliError(EXIT.failed, `cannot write the key: ${messageOf(error)}`, { cause: error }));
    });
  });
}
