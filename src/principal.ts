/** Whoever sends requests, and what that allows: which sources and pools, whether to write, whose queries to see. */
import type { SourceKind } from './config/sources.ts';
import { type Failure, forbidden } from './failures.ts';

/** `reader` reads, `writer` writes where the configuration lets anybody, `operator` may do everything. */
export const ROLES = ['reader', 'writer', 'operator'] as const;
export type Role = (typeof ROLES)[number];

export interface Principal {
  /** What owns a query: a key that is replaced keeps its principal's queries. */
  readonly name: string;
  readonly role: Role;
  /** Aliases it may use; undefined for all. */
  readonly sources: ReadonlySet<string> | undefined;
  /** Pools it may use, its default first; undefined for all. */
  readonly pools: readonly string[] | undefined;
  /** Kinds of sources that its requests may bring along. */
  readonly inlineSources: readonly SourceKind[];
}

/** What limits go by. */
export type PrincipalIdentity = Pick<Principal, 'name' | 'role'>;

/** Every caller while `auth.mode` is `none`, but for the sources that it may bring along: the configuration says so. */
export const ANONYMOUS: Principal = {
  name: 'anonymous',
  role: 'operator',
  sources: undefined,
  pools: undefined,
  inlineSources: [],
};

/** A caller who was asked for no key. Its name is nobody's: the configuration takes no empty one. */
export const NOBODY: Principal = {
  name: '',
  role: 'reader',
  sources: new Set(),
  pools: [],
  inlineSources: [],
};

export function mayUseSource({ sources }: Principal, alias: string): boolean {
  return sources === undefined || sources.has(alias);
}

export function mayUsePool({ pools }: Principal, pool: string): boolean {
  return pools === undefined || pools.includes(pool);
}

/**
 * Throws `FORBIDDEN` for a source that it may not use. One that is not on its list is refused whether there is such a
 * source or not, and in the same words: so nobody learns the names of sources that are not theirs.
 */
export function requireSource(principal: Principal, alias: string): void {
  if (!mayUseSource(principal, alias)) throw denied(principal, 'source', alias);
}

/** Throws `FORBIDDEN` where its requests may bring along no source of that kind. */
export function requireInlineSource(principal: Principal, alias: string, kind: SourceKind): void {
  const { name, inlineSources } = principal;
  if (inlineSources.includes(kind)) return;
  const may = inlineSources.length === 0 ? 'none' : `those of kind ${inlineSources.join(', ')}`;
  const detail = `${JSON.stringify(alias)} is an inline source of kind ${kind}: of inline sources ${name} may use ${may}.`;
  throw forbidden('source', alias, detail);
}

/** As {@link requireSource}, for pools. */
export function requirePool(principal: Principal, pool: string): void {
  if (!mayUsePool(principal, pool)) throw denied(principal, 'pool', pool);
}

function denied({ name }: Principal, kind: 'source' | 'pool', what: string): Failure {
  return forbidden(kind, what, `${JSON.stringify(what)} is none of the ${kind}s that ${name} may use.`);
}

/** Where the configuration lets anybody write. */
export function mayWrite({ role }: Principal): boolean {
  return role !== 'reader';
}

/** Whether it may see, and cancel, the queries of the principal `owner`. */
export function maySeeQueriesOf({ name, role }: Principal, owner: string): boolean {
  return role === 'operator' || name === owner;
}
