/**
 * `/v1/chaos`: real faults for real workers, where the configuration allows it.
 */
import { z } from 'zod';
import { type ChaosService, type ChaosTarget, QUERY_PHASES } from '../chaos.ts';
import { FAULTS } from '../workers/protocol.ts';
import { chaosDocument } from './documents.ts';
import { replyJson } from './exchange.ts';
import { invalidRequest, toRequestErrors } from './invalid-request.ts';
import { parseJson } from './json.ts';
import { readBody } from './request-body.ts';
import { type RouteTable, refuseQueryString } from './routes.ts';

/** Bytes of a body that says more than it has to. */
const MAX_BODY = 10_000;

const TARGET =
  'expected the id of a worker, the name of a pool, {"worker": id}, {"pool": name} or {"query": id, "phase": phase}';

const name = z.string().min(1).max(256);
const orderSchema = z.strictObject({
  target: z.union(
    [
      name,
      z.strictObject({ worker: name }),
      z.strictObject({ pool: name }),
      z.strictObject({ query: name, phase: z.enum(QUERY_PHASES) }),
    ],
    { error: `${TARGET}, with a phase of ${QUERY_PHASES.join(', ')}` },
  ),
  fault: z.enum(FAULTS, { error: `expected one of ${FAULTS.join(', ')}` }),
});

export function addChaosRoutes(routes: RouteTable, chaos: ChaosService): void {
  routes.add(
    '/v1/chaos',
    {
      async POST(exchange) {
        refuseQueryString(exchange);
        chaos.requireEnabled();
        const text = (await readBody(exchange, MAX_BODY)).toString();
        const order = orderSchema.safeParse(parseJson(text));
        if (!order.success) throw invalidRequest(toRequestErrors(order.error, ['target', 'fault']));
        const { target, fault } = order.data;
        const found: ChaosTarget = typeof target === 'string' ? chaos.find(target) : target;
        replyJson(exchange, { target: found, fault, worker: chaos.inject(found, fault) ?? null }, 202);
      },
    },
    {
      access: 'operator',
      operations: {
        POST: {
          summary: 'Have a worker fail',
          description: 'With `chaos.enabled` alone.',
          body: orderSchema,
          replies: { 202: { description: 'It was told', schema: chaosDocument } },
          failures: ['NOT_FOUND'],
        },
      },
    },
  );
}
