/** `duckcoop cancel ID`: the server answers once the query has really stopped, and says how it did. */
import { ask, notDuckcoop, type ServerOptions } from './ask.ts';
import { serverFrom } from './client.ts';
import { visible, visibleJson } from './visible.ts';

export interface CancelOptions extends ServerOptions {
  readonly format: 'text' | 'json';
}

const EXPLAINED: Readonly<Record<string, string>> = {
  cancelled: 'cancelled',
  killed: 'killed: it did not stop when it was asked to, so its worker process was ended',
  already_finished: 'already finished',
};

export async function cancelCommand(id: string, options: CancelOptions): Promise<void> {
  const server = serverFrom(options);
  const reply = await ask(server, 'DELETE', `v1/queries/${encodeURIComponent(id)}`);
  const { outcome } = reply;
  if (typeof outcome !== 'string') throw notDuckcoop(server);
  const said = options.format === 'json' ? visibleJson(reply) : visible(EXPLAINED[outcome] ?? outcome);
  process.stdout.write(`${said}\n`);
}
