/** The configuration as anyone who may see it may see it. */
import type { Config } from './schema.ts';
import { HIDDEN, Secret } from './secret.ts';

/** The same shape, with a text where a secret was. */
export type Public<Value> = Value extends Secret
  ? string
  : Value extends object
    ? { [Key in keyof Value]: Public<Value[Key]> }
    : Value;

/** The resolved configuration as plain data for JSON: `[secret]` where a secret is set. */
export function publicConfig(config: Config): Public<Config> {
  return withoutSecrets(config) as Public<Config>;
}

function withoutSecrets(value: unknown): unknown {
  if (value instanceof Secret) return HIDDEN;
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withoutSecrets(item)]));
}
