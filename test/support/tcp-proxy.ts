/** Stands between a client and a server, and does what networks do: refuses, falls silent, breaks off. */
import { connect, createServer, type Server, type Socket } from 'node:net';

export interface TcpProxy {
  readonly port: number;
  /** Connections there are. */
  readonly open: number;
  /** Connections there have been. */
  readonly accepted: number;
  /** From now on: pass everything on, or take everything and pass on nothing, of those connections too that are there. */
  set(mode: 'pass' | 'silent'): void;
  /** Does so as soon as the server has sent so many bytes more. */
  after(bytes: number, what: 'silent' | 'cut'): void;
  /** Breaks every connection. */
  cut(): void;
  /** Takes no connections any more, and breaks those there are. Safe to call again. */
  close(): Promise<void>;
}

/** Listens at `address`, which is one of this machine's own. */
export async function tcpProxy(
  target: { readonly host: string; readonly port: number },
  address = '127.0.0.1',
): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  let silent = false;
  let received = 0;
  let due: { readonly at: number; readonly what: 'silent' | 'cut' } | undefined;
  const keep = (socket: Socket, end: () => void) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      sockets.delete(socket);
      end();
    });
  };
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const server: Server = createServer((client) => {
    accepted += 1;
    const upstream = connect(target.port, target.host);
    keep(client, () => upstream.destroy());
    keep(upstream, () => client.destroy());
    client.on('data', (bytes) => {
      if (!silent) upstream.write(bytes);
    });
    upstream.on('data', (bytes) => {
      received += bytes.length;
      if (due !== undefined && received >= due.at) {
        if (due.what === 'cut') cut();
        else silent = true;
        due = undefined;
      }
      if (silent || client.destroyed) return;
      if (client.write(bytes)) return;
      upstream.pause();
      client.once('drain', () => upstream.resume());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const { port } = server.address() as { port: number };
  return {
    port,
    get open() {
      return sockets.size / 2;
    },
    get accepted() {
      return accepted;
    },
    set: (mode) => {
      silent = mode === 'silent';
      due = undefined;
    },
    after: (bytes, what) => {
      due = { at: received + bytes, what };
    },
    cut,
    close: () => {
      cut();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
