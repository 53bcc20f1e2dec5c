/**
 * What operators and their tools ask: is it alive, is it ready, what does the tree look like.
 */
import { z } from 'zod';
import {
  aliveDocument,
  configDocument,
  readinessDocument,
  reloadedDocument,
  restartDocument,
  supervisionDocument,
  workersDocument,
} from './documents.ts';
import { reply, replyJson } from './exchange.ts';
import { refuseBody } from './request-body.ts';
import { type Handlers, type Operations, type RouteTable, refuseQueryString } from './routes.ts';
import type { OperationsService } from './services.ts';

export function addOperatorRoutes(routes: RouteTable, operations: OperationsService): void {
  const open = (pattern: string, handlers: Handlers, operations: Operations) =>
    routes.add(pattern, handlers, { access: 'open', operations });
  const forOperators = (pattern: string, handlers: Handlers, operations: Operations) =>
    routes.add(pattern, handlers, { access: 'operator', operations });

  open(
    '/healthz',
    {
      // Depends on nothing: it says that this process answers, and a restart would cure nothing else.
      GET: (exchange) => replyJson(exchange, { status: 'ok' }),
    },
    {
      GET: {
        summary: 'Whether this process answers',
        replies: { 200: { description: 'It does', schema: aliveDocument } },
      },
    },
  );

  open(
    '/readyz',
    {
      GET(exchange) {
        const { ready, pools } = operations.ready();
        const taking = ready && !operations.isDraining();
        replyJson(exchange, { ready: taking, pools }, taking ? 200 : 503);
      },
    },
    {
      GET: {
        summary: 'Whether queries are taken',
        replies: {
          200: { description: 'They are', schema: readinessDocument },
          503: { description: 'They are not', schema: readinessDocument },
        },
      },
    },
  );

  forOperators(
    '/metrics',
    {
      async GET(exchange) {
        const { contentType, body } = await operations.metrics();
        reply(exchange, 200, contentType, body);
      },
    },
    {
      GET: {
        summary: 'Metrics for Prometheus',
        replies: { 200: { description: 'As text', types: ['text/plain'] } },
      },
    },
  );

  forOperators(
    '/v1/supervision',
    {
      async GET(exchange) {
        refuseQueryString(exchange);
        replyJson(exchange, await operations.supervision());
      },
    },
    {
      GET: {
        summary: 'The supervision tree',
        replies: { 200: { description: 'Its root', schema: supervisionDocument } },
      },
    },
  );

  forOperators(
    '/v1/supervision/{+path}/restart',
    {
      async POST(exchange) {
        refuseQueryString(exchange);
        await refuseBody(exchange);
        const { parameters, principal } = exchange;
        replyJson(exchange, operations.restart(parameters.path ?? '', principal.name), 202);
      },
    },
    {
      POST: {
        summary: 'Restart a part of the tree',
        body: z.strictObject({}),
        bodyOptional: true,
        replies: { 202: { description: 'It ends, and begins anew', schema: restartDocument } },
        failures: ['NOT_FOUND', 'SHUTTING_DOWN'],
      },
    },
  );

  forOperators(
    '/v1/workers',
    {
      GET(exchange) {
        refuseQueryString(exchange);
        replyJson(exchange, { workers: operations.workers() });
      },
    },
    {
      GET: {
        summary: 'Worker processes',
        replies: { 200: { description: 'All of them', schema: workersDocument } },
      },
    },
  );

  forOperators(
    '/v1/config',
    {
      GET(exchange) {
        refuseQueryString(exchange);
        replyJson(exchange, operations.config());
      },
    },
    {
      GET: {
        summary: 'The configuration in force, without secrets',
        replies: { 200: { description: 'With its defaults', schema: configDocument } },
      },
    },
  );

  forOperators(
    '/v1/config/reload',
    {
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
    },
    {
      POST: {
        summary: 'Read the configuration anew',
        body: z.strictObject({}),
        bodyOptional: true,
        replies: { 200: { description: 'What has changed', schema: reloadedDocument } },
      },
    },
  );
}
