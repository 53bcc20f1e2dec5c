/**
 * The program of the egress process: told over its channel what to serve and where, it serves, and ends the moment the channel
 * closes. It knows nothing of queries, principals or sources, and loads no DuckDB.
 */
import { Socket } from 'node:net';
import { Listener } from '../http/listener.ts';
import { ControlChannel } from '../workers/control-channel.ts';
import { downloads } from './downloads.ts';
import {
  CHANNEL_FD,
  type Configure,
  decodeToEgress,
  type FromEgress,
  HEARTBEAT_MS,
  MAX_LINE,
  type ToEgress,
} from './protocol.ts';

const channel = new ControlChannel<ToEgress, FromEgress>(new Socket({ fd: CHANNEL_FD }), {
  decode: decodeToEgress,
  onMessage: receive,
  onProtocolError: giveUp,
  onClose: () => process.exit(0),
  maxLine: MAX_LINE,
});

let listener: Listener | undefined;
const settings = { clientWriteTimeoutMs: 30_000 };

function receive(message: ToEgress): void {
  switch (message.type) {
    case 'configure':
      listen(message).catch(giveUp);
      return;
    case 'settings':
      settings.clientWriteTimeoutMs = message.clientWriteTimeoutMs;
      return;
    case 'stop':
      void (listener?.drain(message.withinMs) ?? Promise.resolve()).then(() => process.exit(0));
      return;
    default:
      message satisfies never;
  }
}

async function listen(configure: Configure): Promise<void> {
  const { folder, host, port, key, clientWriteTimeoutMs } = configure;
  settings.clientWriteTimeoutMs = clientWriteTimeoutMs;
  const handler = downloads({
    folder,
    key: Buffer.from(key, 'base64url'),
    now: Date.now,
    onError: (error) => process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`),
  });
  const created = new Listener(handler, settings);
  const address = await created.listen(host, port);
  listener = created;
  setInterval(() => channel.send({ type: 'heartbeat' }), HEARTBEAT_MS);
  channel.send({ type: 'listening', ...address });
}

/** Says why, then ends: the parent reads the reason. */
function giveUp(error: Error): void {
  const { code } = error as NodeJS.ErrnoException;
  channel.send({ type: 'failed', detail: error.message, ...(code !== undefined && { code }) });
  setImmediate(() => process.exit(1));
}
