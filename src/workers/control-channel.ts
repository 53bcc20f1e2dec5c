/** One end of the control channel: JSON documents, a line each, checked before anybody sees them. */
import type { Duplex } from 'node:stream';

/** The other end broke the protocol: no JSON, a message that is not in the protocol, a line without end. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

export interface ControlChannelOptions<In> {
  /** Throws for what is no message of the protocol. */
  readonly decode: (value: unknown) => In;
  readonly onMessage: (message: In) => void;
  /** The peer broke the protocol; nothing more is read from it. */
  readonly onProtocolError: (error: ProtocolError) => void;
  /** The channel is closed, by either side, after the last message. Called once. */
  readonly onClose: () => void;
  /** The longest line that is read, in bytes. */
  readonly maxLine: number;
  /**
   * Messages of one turn of the event loop are sent together: each write wakes the other end. Not for one that may die between two
   * of them.
   */
  readonly gathers?: boolean;
}

const NEWLINE = 0x0a;

export class ControlChannel<In, Out> {
  readonly #socket: Duplex;
  readonly #options: ControlChannelOptions<In>;
  #rest: Buffer[] = [];
  #restBytes = 0;
  #broken = false;
  /** Lines that wait for the end of this turn of the event loop. */
  #outgoing = '';

  constructor(socket: Duplex, options: ControlChannelOptions<In>) {
    this.#socket = socket;
    this.#options = options;
    socket.on('data', (bytes: Buffer) => this.#read(bytes));
    // An error (EPIPE, ECONNRESET) is always followed by 'close', which is what counts.
    socket.on('error', () => undefined);
    socket.on('close', () => options.onClose());
  }

  /** Sends a message; silently nothing once the channel is closed, since its close is told in its own right. */
  send(message: Out): void {
    if (!this.#socket.writable) return;
    const line = `${JSON.stringify(message)}\n`;
    if (!this.#options.gathers) {
      this.#socket.write(line);
      return;
    }
    if (this.#outgoing === '') setImmediate(() => this.#flush());
    this.#outgoing += line;
  }

  #flush(): void {
    const lines = this.#outgoing;
    this.#outgoing = '';
    if (this.#socket.writable) this.#socket.write(lines);
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(bytes: Buffer): void {
    let start = 0;
    while (!this.#broken) {
      const end = bytes.indexOf(NEWLINE, start);
      if (end === -1) break;
      const tail = bytes.subarray(start, end);
      if (this.#restBytes + tail.length > this.#options.maxLine) {
        this.#tooLong();
        return;
      }
      const line = this.#rest.length === 0 ? tail : Buffer.concat([...this.#rest, tail]);
      this.#rest = [];
      this.#restBytes = 0;
      start = end + 1;
      this.#line(line);
    }
    if (this.#broken || start === bytes.length) return;
    const rest = bytes.subarray(start);
    this.#rest.push(rest);
    this.#restBytes += rest.length;
    if (this.#restBytes > this.#options.maxLine) this.#tooLong();
  }

  #tooLong(): void {
    this.#break(`a line is longer than ${this.#options.maxLine} bytes`);
  }

  #line(line: Buffer): void {
    let message: In;
    try {
      message = this.#options.decode(JSON.parse(line.toString('utf8')));
    } catch (error) {
      this.#break('a line is no message of the protocol', error);
      return;
    }
    this.#options.onMessage(message);
  }

  #break(what: string, cause?: unknown): void {
    this.#broken = true;
    this.#rest = [];
    this.#options.onProtocolError(new ProtocolError(what, { cause }));
  }
}
