/**
 * The HTTP edge: finds the handler, and turns whatever it throws into one problem document (RFC 9457).
 *
 * One middleware and no more: a point query takes less than a millisecond, so layers are felt here.
 */
import Koa, { type Context } from 'koa';
import { Failure, type FailureCode, forbidden, toFailure } from '../failures.ts';
import { NOBODY } from '../principal.ts';
import { type Authenticate, authenticator } from './auth.ts';
import { addChaosRoutes } from './chaos-routes.ts';
import { addCrashRoutes } from './crash-routes.ts';
import { addEventRoutes } from './event-routes.ts';
import { COMMON_HEADERS, type Exchange, isGone, replyFailure } from './exchange.ts';
import { addExportRoutes } from './export-routes.ts';
import { invalidRequest } from './invalid-request.ts';
import { addOpenApiRoute } from './openapi/route.ts';
import { addOperatorRoutes } from './operator-routes.ts';
import { addQueryRoutes } from './query-routes.ts';
import { ClientGone } from './request-body.ts';
import { type Handler, type Route, type RouteMatch, RouteTable } from './routes.ts';
import type { HttpServices } from './services.ts';
import { addSessionRoutes } from './session-routes.ts';
import { addSourceRoutes } from './source-routes.ts';
import { refuseForeignPage } from './web-page.ts';

/** What an access log says of a client that did not wait, as nginx does. Never sent. */
const CLIENT_GONE_STATUS = 499;

/** The application for a {@link Listener}: `new Listener(createApp(services).callback(), options)`. */
export function createApp(services: HttpServices): Koa {
  const routes = routeTable(services);
  const authenticate = authenticator(services.auth, (why) => services.onAuthFailure?.(why));
  const app = new Koa();
  // Only what failed after its reply had begun comes here; everything else is answered below.
  app.on('error', (error: unknown, ctx: Context) => {
    if (isOfTheConnection(error)) return;
    services.onError(error, { method: ctx.method, path: patternOf(routes, ctx), queryId: undefined });
  });
  app.use(async (ctx) => {
    const startedAt = services.onRequest === undefined ? 0 : performance.now();
    const exchange: ExchangeState = {
      ctx,
      parameters: {},
      principal: NOBODY,
      queryId: undefined,
      requireStillAdmitted: () => undefined,
    };
    let match: RouteMatch | undefined;
    let code: FailureCode | undefined;
    // Of a client that has gone there is none any more.
    const client = ctx.req.socket.remoteAddress;
    try {
      const path = pathOf(ctx);
      match = routes.find(path);
      const keys = services.auth();
      const { route, parameters } = admit(exchange, match, path, authenticate, services);
      exchange.parameters = parameters;
      exchange.requireStillAdmitted = () => {
        if (services.auth() !== keys) admit(exchange, match, path, authenticate, services);
      };
      const handled = handlerOf(route, ctx)(exchange);
      if (handled !== undefined) await handled;
    } catch (error) {
      code = toFailure(error).code;
      refuse(exchange, error, services, match?.route.pattern ?? 'unknown');
    }
    services.onRequest?.({
      method: ctx.method,
      route: match?.route.pattern,
      status: ctx.res.writableEnded || ctx.writable ? ctx.res.statusCode : CLIENT_GONE_STATUS,
      durationMs: performance.now() - startedAt,
      queryId: exchange.queryId,
      principal: exchange.principal,
      client,
      code,
      parameters: exchange.parameters,
    });
  });
  return app;
}

/** What becomes of a reply whose client resets its connection, or is not there any more: no fault of ours (errno(3)). */
const CONNECTION_ERRORS: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ETIMEDOUT']);

function isOfTheConnection(error: unknown): boolean {
  return error instanceof Error && CONNECTION_ERRORS.has((error as NodeJS.ErrnoException).code);
}

/** All that this server answers. */
export function routeTable(services: HttpServices): RouteTable {
  const routes = new RouteTable();
  addQueryRoutes(routes, services);
  addSessionRoutes(routes, services);
  addExportRoutes(routes, services);
  addSourceRoutes(routes, services.sources);
  addOperatorRoutes(routes, services.operations);
  addCrashRoutes(routes, services.crashes);
  addChaosRoutes(routes, services.chaos);
  addEventRoutes(routes, services);
  addOpenApiRoute(routes);
  return routes;
}

type ExchangeState = { -readonly [Key in keyof Exchange]: Exchange[Key] };

/** First who it is, then what there is: a stranger does not learn which paths lead anywhere. */
function admit(
  exchange: ExchangeState,
  match: RouteMatch | undefined,
  path: string,
  authenticate: Authenticate,
  { allowedHosts }: HttpServices,
): RouteMatch {
  if (match?.route.access === 'open') return match;
  refuseForeignPage(exchange.ctx.req, allowedHosts?.());
  exchange.principal = authenticate(exchange.ctx.req);
  if (match === undefined) throw new Failure('NOT_FOUND', `There is nothing at ${path}.`);
  const { access, pattern } = match.route;
  if (access === 'operator' && exchange.principal.role !== 'operator') {
    throw forbidden('endpoint', pattern, `${pattern} is for operators.`);
  }
  return match;
}

/** Brings a target of the form `http://host/path` (RFC 9112, section 3.2.2) into the usual one. */
function pathOf(ctx: Context): string {
  if (ctx.req.httpVersion === '1.1' && ctx.req.headers.host === undefined) {
    throw invalidRequest([{ path: '', message: 'the Host header is missing (RFC 9112, section 3.2)' }]);
  }
  const { url = '' } = ctx.req;
  if (!url.startsWith('/') && url !== '*') {
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (!parsed) throw invalidRequest([{ path: '', message: 'the request target is not a URL' }]);
    ctx.req.url = parsed.pathname + parsed.search;
  }
  return ctx.path;
}

/** A path may hold anything, and there are as many as clients can think of; patterns are few. */
function patternOf(routes: RouteTable, ctx: Context): string {
  return routes.find(ctx.path)?.route.pattern ?? 'unknown';
}

function handlerOf(route: Route, ctx: Context): Handler {
  const handler = route.handlers.get(ctx.method);
  if (handler) return handler;
  if (ctx.method === 'OPTIONS') return ({ ctx }) => replyOptions(ctx, route.allow);
  throw new Failure('METHOD_NOT_ALLOWED', `${route.pattern} answers ${route.allow}; not ${ctx.method}.`, {
    headers: { Allow: route.allow },
  });
}

function replyOptions(ctx: Context, allow: string): void {
  ctx.status = 204;
  ctx.set({ ...COMMON_HEADERS, Allow: allow });
}

function refuse(exchange: Exchange, error: unknown, services: HttpServices, path: string): void {
  const { ctx } = exchange;
  const { req, res } = ctx;
  const failure = toFailure(error);
  const gone = error instanceof ClientGone;
  if (failure.code === 'INTERNAL' && !gone) {
    services.onError(error, { method: ctx.method, path, queryId: exchange.queryId });
  }
  if (gone || res.headersSent || isGone(req.socket)) {
    // A cut reply must not look whole, and nobody hears another one.
    ctx.respond = false;
    req.socket.destroy();
    return;
  }
  replyFailure(exchange, failure);
}
