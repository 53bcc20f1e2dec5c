/** `GET /v1/supervision/events`: what happens in the tree, as it happens. */
import { z } from 'zod';
import { OPERATOR_EVENT_TYPES } from '../telemetry/operator-events.ts';
import { requireEventStream } from './accept.ts';
import type { EventStreams } from './event-streams.ts';
import { readParameters } from './parameters.ts';
import type { RouteTable } from './routes.ts';

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

export function addEventRoutes(routes: RouteTable, streams: EventStreams): void {
  routes.add(
    '/v1/supervision/events',
    {
      GET(exchange) {
        const { ctx } = exchange;
        const { types, last_event_id } = readParameters(ctx.querystring, parameters);
        requireEventStream(ctx);
        // The header is what a browser adds when it comes back; its address still has the parameter of its first time.
        const header = ctx.req.headers['last-event-id'];
        const lastEventId = typeof header === 'string' ? header : last_event_id;
        streams.open(exchange, { lastEventId, types: types && new Set(types) });
      },
    },
    // A HEAD would take one of the streams.
    { head: false, access: 'operator' },
  );
}
