/**
 * What operators and their tools ask: is it alive, is it ready, what does the tree look like.
 */
import { reply, replyJson } from './exchange.ts';
import { refuseBody } from './request-body.ts';
import { type Handlers, type RouteTable, refuseQueryString } from './routes.ts';
import type { OperationsService } from './services.ts';

export function addOperatorRoutes(routes: RouteTable, operations: OperationsService): void {
  const open = (pattern: string, handlers: Handlers) => routes.add(pattern, handlers, { access: 'open' });
  const forOperators = (pattern: string, handlers: Handlers) =>
    routes.add(pattern, handlers, { access: 'operator' });

  open('/healthz', {
    // Depends on nothing: it says that this process answers, and a restart would cure nothing else.
    GET: (exchange) => replyJson(exchange, { status: 'ok' }),
  });

  open('/readyz', {
    GET(exchange) {
      const { ready, pools } = operations.ready();
      const taking = ready && !operations.isDraining();
      replyJson(exchange, { ready: taking, pools }, taking ? 200 : 503);
    },
  });

  forOperators('/metrics', {
    async GET(exchange) {
      const { contentType, body } = await operations.metrics();
      reply(exchange, 200, contentType, body);
    },
  });

  forOperators('/v1/supervision', {
    async GET(exchange) {
      refuseQueryString(exchange);
      replyJson(exchange, await operations.supervision());
    },
  });

  forOperators('/v1/supervision/{+path}/restart', {
    async POST(exchange) {
      refuseQueryString(exchange);
      await refuseBody(exchange);
      const { parameters, principal } = exchange;
      replyJson(exchange, operations.restart(parameters.path ?? '', principal.name), 202);
    },
  });

  forOperators('/v1/workers', {
    GET(exchange) {
      refuseQueryString(exchange);
      replyJson(exchange, { workers: operations.workers() });
    },
  });

  forOperators('/v1/config', {
    GET(exchange) {
      refuseQueryString(exchange);
      replyJson(exchange, operations.config());
    },
  });

  forOperators('/v1/config/reload', {
    async POST(exchange) {
      refuseQueryString(exchange);
      await refuseBody(exchange);
      const { version, changes, warnings } = await operations.reload();
      replyJson(exchange, {
        version,
        changes,
        warnings: warnings.map(({ path, message }) => ({ path, message })),
      });
    },
  });
}
