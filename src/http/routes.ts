/**
 * Which handler answers a method and a path.
 *
 * A path is literal (found with one Map lookup) or has `{name}` segments (tried in the order they were added); `{+name}`
 * stands for one segment or more (RFC 6570, section 3.2.3).
 * HEAD is answered by the GET handler unless that has effects; OPTIONS by the table itself.
 *
 * ```ts
 * const routes = new RouteTable();
 * routes.add('/v1/queries/{id}', { GET: show, DELETE: cancel });
 * routes.add('/v1/workers', { GET: workers }, { access: 'operator' });
 * routes.find('/v1/queries/q1'); // { route: { pattern: '/v1/queries/{id}', allow: 'GET, HEAD, DELETE, OPTIONS', ... }, parameters: { id: 'q1' } }
 * ```
 */
import type { Exchange } from './exchange.ts';
import { invalidRequest } from './invalid-request.ts';
import type { Operation } from './openapi/operation.ts';

export type Handler = (exchange: Exchange) => void | Promise<void>;

export interface Handlers {
  readonly GET?: Handler;
  readonly POST?: Handler;
  readonly PUT?: Handler;
  readonly PATCH?: Handler;
  readonly DELETE?: Handler;
}

/** Who may call: anybody at all, anybody with a key, or operators alone. */
export type Access = 'open' | 'key' | 'operator';

export interface RouteOptions {
  /** False for a GET that does work, which a HEAD must not start. */
  readonly head?: boolean;
  /** `key` where nothing is said. */
  readonly access?: Access;
  /** What each method takes and replies, for the OpenAPI document; each has to have one. */
  readonly operations?: Operations;
}

export type Operations = Readonly<Partial<Record<keyof Handlers, Operation>>>;

export interface Route {
  readonly pattern: string;
  readonly access: Access;
  readonly handlers: ReadonlyMap<string, Handler>;
  readonly operations: Operations;
  /** The `Allow` header (RFC 9110, section 10.2.1). */
  readonly allow: string;
}

export interface RouteMatch {
  readonly route: Route;
  readonly parameters: Readonly<Record<string, string>>;
}

interface PatternRoute {
  readonly match: RegExp;
  readonly route: Route;
}

const NO_PARAMETERS: Readonly<Record<string, string>> = {};

export class RouteTable {
  readonly #literal = new Map<string, RouteMatch>();
  readonly #patterns: PatternRoute[] = [];

  add(
    pattern: string,
    handlers: Handlers,
    { head = true, access = 'key', operations = {} }: RouteOptions = {},
  ): void {
    const byMethod = new Map<string, Handler>();
    for (const [method, handler] of Object.entries(handlers) as [string, Handler][]) {
      byMethod.set(method, handler);
      if (method === 'GET' && head) byMethod.set('HEAD', handler);
    }
    const allow = [...byMethod.keys(), 'OPTIONS'].join(', ');
    const route: Route = { pattern, access, handlers: byMethod, operations, allow };
    if (!pattern.includes('{')) this.#literal.set(pattern, { route, parameters: NO_PARAMETERS });
    else this.#patterns.push({ match: toRegExp(pattern), route });
  }

  /** Every route there is. */
  all(): Route[] {
    return [...this.#literal.values(), ...this.#patterns].map(({ route }) => route);
  }

  /** Parameters are percent-decoded; a segment that cannot be decoded matches nothing. */
  find(path: string): RouteMatch | undefined {
    const literal = this.#literal.get(path);
    if (literal) return literal;
    for (const { match, route } of this.#patterns) {
      const groups = match.exec(path)?.groups;
      if (!groups) continue;
      const parameters = decodeAll(groups);
      if (parameters) return { route, parameters };
    }
    return undefined;
  }
}

function toRegExp(pattern: string): RegExp {
  const expression = pattern
    .replaceAll('.', '\\.')
    .replaceAll(/\{(\w+)\}(?=\\\.)/g, '(?<$1>[^/.]+)')
    .replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)')
    .replaceAll(/\{\+(\w+)\}/g, '(?<$1>[^/]+(?:/[^/]+)*)');
  return new RegExp(`^${expression}$`);
}

function decodeAll(groups: Readonly<Record<string, string>>): Record<string, string> | undefined {
  try {
    return Object.fromEntries(
      Object.entries(groups).map(([name, value]) => [name, decodeURIComponent(value)]),
    );
  } catch {
    return undefined;
  }
}

/** For routes that have no query parameters: a typo is never silent. */
export function refuseQueryString({ ctx }: Exchange): void {
  if (ctx.querystring === '') return;
  const errors = [...new URLSearchParams(ctx.querystring).keys()].map((path) => ({
    path,
    message: 'unknown parameter; this takes none',
  }));
  throw invalidRequest(errors);
}
