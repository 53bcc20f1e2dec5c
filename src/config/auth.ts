/** Who may call, and with which role. */
import { z } from 'zod';
import { ANONYMOUS, ROLES } from '../principal.ts';
import { LABEL, list, type NameRule, named, oneOf, section, text } from './fields.ts';
import { Secret } from './secret.ts';
import { SOURCE_KINDS } from './sources.ts';

const KEY_HASH = 'expected "sha256:" and the 64 hexadecimal digits of the SHA-256 of the key';

/** Kinds of sources that a request may bring along; none when not given. */
const inlineSources = list(oneOf(SOURCE_KINDS), 'expected a list of kinds of sources').default([]);

const principal = section({
  /** `sha256:` and 64 lower-case hexadecimal digits. */
  key_hash: z
    .string({ error: KEY_HASH })
    .regex(/^sha256:[0-9a-fA-F]{64}$/, { error: KEY_HASH })
    .transform((hash) => new Secret(hash.toLowerCase())),
  role: oneOf(ROLES).default('reader'),
  /** Aliases it may use; every configured one when not given. */
  sources: list(text(), 'expected a list of source aliases').optional(),
  /** Pools it may use, its default first; every configured one when not given. */
  pools: list(text(), 'expected a list of pool names').optional(),
  inline_sources: inlineSources,
});

/** Roles and `anonymous` are no names for principals: `limits` could not tell them apart. */
export const PRINCIPAL_NAME: NameRule = { ...LABEL, taken: [...ROLES, ANONYMOUS.name] };

export const authSchema = section({
  mode: oneOf(['none', 'api_keys']).default('none'),
  principals: named(principal, PRINCIPAL_NAME),
  /** Of every caller, while `mode` is `none`. */
  inline_sources: inlineSources,
});

export type PrincipalConfig = z.output<typeof principal>;
export type AuthConfig = z.output<typeof authSchema>;
