/** `GET /openapi.json`: for whoever has a key, as all that a stranger is not to learn. */
import { z } from 'zod';
import { reply } from '../exchange.ts';
import { type RouteTable, refuseQueryString } from '../routes.ts';
import { openApiDocument } from './document.ts';

/** To be added last: the document is of all routes there are when it is first asked for. */
export function addOpenApiRoute(routes: RouteTable): void {
  let document: string | undefined;
  routes.add(
    '/openapi.json',
    {
      GET(exchange) {
        refuseQueryString(exchange);
        document ??= JSON.stringify(openApiDocument(routes.all()));
        reply(exchange, 200, 'application/json', document);
      },
    },
    {
      operations: {
        GET: {
          summary: 'This document',
          replies: { 200: { description: 'OpenAPI 3.1', schema: z.looseObject({ openapi: z.string() }) } },
        },
      },
    },
  );
}
