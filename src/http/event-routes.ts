/** `GET /v1/supervision/events`: what happens in the tree, as it happens. */
import type { Context } from 'koa';
import { z } from 'zod';
import { OPERATOR_EVENT_TYPES } from '../telemetry/operator-events.ts';
import { EVENT_STREAM, requireEventStream } from './accept.ts';
import { readParameters } from './parameters.ts';
import type { RouteTable } from './routes.ts';
import type { HttpServices } from './services.ts';

const parameters = z.strictObject({
  types: z
    .string()
    .transform((text) => text.split(','))
    .superRefine((types, context) => {
      const unknown = types.find((type) => !OPERATOR_EVENT_TYPES.includes(type));
      if (unknown === undefined) return;
      const message = `${JSON.stringify(unknown)} is no event; known are ${OPERATOR_EVENT_TYPES.join(', ')}`;
      context.addIssue({ code: 'custom', message });
    })
    .optional(),
  last_event_id: z.string().optional(),
});

export function addEventRoutes(
  routes: RouteTable,
  { eventStreams, eventLog }: Pick<HttpServices, 'eventStreams' | 'eventLog'>,
): void {
  routes.add(
    '/v1/supervision/events',
    {
      GET(exchange) {
        const { ctx } = exchange;
        const { types, last_event_id } = readParameters(ctx.querystring, parameters);
        requireEventStream(ctx);
        const lastEventId = lastEventIdOf(ctx, last_event_id);
        eventStreams.open(exchange, { ring: eventLog, lastEventId, types: types && new Set(types) });
      },
    },
    // A HEAD would take one of the streams.
    {
      head: false,
      access: 'operator',
      operations: {
        GET: {
          summary: 'What happens in the tree, as server-sent events',
          query: parameters,
          replies: { 200: { description: 'Without end', types: [EVENT_STREAM] } },
          failures: ['NOT_ACCEPTABLE', 'OVERLOADED', 'SHUTTING_DOWN'],
        },
      },
    },
  );
}

/** The header is what a browser adds when it comes back; its address still has the parameter of its first time. */
export function lastEventIdOf({ req }: Context, parameter: string | undefined): string | undefined {
  const header = req.headers['last-event-id'];
  return typeof header === 'string' ? header : parameter;
}
