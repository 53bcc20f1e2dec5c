/** The fields of the secret that a database server is attached with. */
import { literal } from './quote.ts';
import type { Server } from './source-failure.ts';

export function serverSecret(source: Server): string {
  const fields = [
    `TYPE ${source.kind}`,
    `HOST ${literal(source.host)}`,
    `PORT ${source.port}`,
    ...(source.user === undefined ? [] : [`USER ${literal(source.user)}`]),
    ...(source.password === undefined ? [] : [`PASSWORD ${literal(source.password)}`]),
    ...(source.database === undefined ? [] : [`DATABASE ${literal(source.database)}`]),
  ];
  return fields.join(', ');
}
