/** `duckcoop sessions new` and `duckcoop sessions end ID`; the list is with the other lists (lists.ts). */
import { parseDuration } from '../config/units.ts';
import { ask, notDuckcoop, type ServerOptions } from './ask.ts';
import { serverFrom } from './client.ts';
import { CliError, EXIT } from './exit.ts';
import { visible, visibleJson } from './visible.ts';

interface Format {
  readonly format: 'text' | 'json';
}

export interface NewSessionOptions extends ServerOptions, Format {
  readonly name?: string;
  readonly source?: readonly string[];
  readonly ttl?: string;
  readonly idleTimeout?: string;
  readonly memoryLimit?: string;
  readonly diskLimit?: string;
  readonly threads?: number;
}

/** Prints its id alone, for scripts: `session=$(duckcoop sessions new)`. */
export async function sessionsNew(options: NewSessionOptions): Promise<void> {
  const server = serverFrom(options);
  const { name, source, ttl, idleTimeout, memoryLimit, diskLimit, threads } = options;
  const body = {
    name,
    sources: source,
    ttl_ms: milliseconds('--ttl', ttl),
    idle_timeout_ms: milliseconds('--idle-timeout', idleTimeout),
    memory_limit: memoryLimit,
    disk_limit: diskLimit,
    threads,
  };
  const reply = await ask(server, 'POST', 'v1/sessions', { body });
  if (typeof reply.session_id !== 'string') throw notDuckcoop(server);
  print(options, reply, reply.session_id);
}

/** Ends once nothing is left of it. */
export async function sessionsEnd(id: string, options: ServerOptions & Format): Promise<void> {
  const server = serverFrom(options);
  const reply = await ask(server, 'DELETE', `v1/sessions/${encodeURIComponent(id)}`);
  if (typeof reply.state !== 'string') throw notDuckcoop(server);
  print(options, reply, reply.state);
}

function print({ format }: Format, reply: Readonly<Record<string, unknown>>, text: string): void {
  process.stdout.write(`${format === 'json' ? visibleJson(reply) : visible(text)}\n`);
}

function milliseconds(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const parsed = parseDuration(text);
  if (parsed === undefined || parsed === 0)
    throw new CliError(EXIT.usage, `${option}: expected a time such as 30s, 15m or 8h, got ${text}`);
  return parsed;
}
