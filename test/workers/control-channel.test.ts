import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ControlChannel, ProtocolError } from '../../src/workers/control-channel.ts';
import { encodeFrames, FrameDecoder, MAX_FRAME } from '../../src/workers/data-frames.ts';
import { decodeParentMessage, decodeWorkerMessage } from '../../src/workers/protocol.ts';
import { Reply, SMALL } from '../../src/workers/reply.ts';

/** Cuts `bytes` at the given places, which may be anywhere. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

const places = fc.array(fc.nat(), { maxLength: 30 });

/** A channel whose socket is fed by hand. */
function channel(maxLine = 1_000_000, decode: (value: unknown) => unknown = (value) => value) {
  const messages: unknown[] = [];
  const errors: ProtocolError[] = [];
  let closed = 0;
  const written: string[] = [];
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      written.push(chunk.toString());
      done();
    },
  });
  const end = new ControlChannel(socket, {
    decode,
    onMessage: (message) => messages.push(message),
    onProtocolError: (error) => errors.push(error),
    onClose: () => {
      closed += 1;
    },
    maxLine,
  });
  return {
    messages,
    errors,
    written,
    socket,
    end,
    feed: (bytes: Buffer) => socket.emit('data', bytes),
    closed: () => closed,
  };
}

describe('a control channel', () => {
  it('reads what was sent, wherever the reads are cut', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue(), { maxLength: 12 }), places, (sent, cuts) => {
        const { written, end } = channel();
        for (const message of sent) end.send(message);
        const { messages, errors, feed } = channel();
        for (const piece of cut(Buffer.from(written.join('')), cuts)) feed(piece);
        expect(messages).toEqual(sent.map((message) => JSON.parse(JSON.stringify(message))));
        expect(errors).toEqual([]);
      }),
    );
  });

  it('gives the messages before garbage, one error, and nothing after it', () => {
    const garbage = fc
      .uint8Array({ minLength: 1, maxLength: 50 })
      .map((bytes) => Buffer.from(bytes.map((byte) => (byte === 10 ? 0 : byte))));
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 5 }), garbage, places, (sent, noise, cuts) => {
        fc.pre(!isJson(noise.toString('utf8')));
        const line = (value: unknown) => `${JSON.stringify(value)}\n`;
        const text = Buffer.concat([
          Buffer.from(sent.map(line).join('')),
          noise,
          Buffer.from(`\n${line('after')}`),
        ]);
        const { messages, errors, feed } = channel();
        for (const piece of cut(text, cuts)) feed(piece);
        expect(messages).toEqual(sent);
        expect(errors).toHaveLength(1);
        expect(errors[0]).toBeInstanceOf(ProtocolError);
      }),
    );
  });

  it('reads a line of the greatest length and none that is longer, ended or not', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 200 }),
        fc.integer({ min: -3, max: 3 }),
        fc.boolean(),
        places,
        (maxLine, more, ended, cuts) => {
          const length = Math.max(2, maxLine + more);
          const text = Buffer.from(`${JSON.stringify('x'.repeat(length - 2))}${ended ? '\n' : ''}`);
          const { messages, errors, feed } = channel(maxLine);
          for (const piece of cut(text, cuts)) feed(piece);
          expect(errors).toHaveLength(length > maxLine ? 1 : 0);
          expect(messages).toHaveLength(ended && length <= maxLine ? 1 : 0);
        },
      ),
    );
  });

  it('refuses what the protocol does not know, without a word about its content', () => {
    const { messages, errors, feed } = channel(1_000, decodeWorkerMessage);
    feed(
      Buffer.from('{"type":"heartbeat"}\n{"type":"heartbeat","password":"secret"}\n{"type":"heartbeat"}\n'),
    );
    expect(messages).toEqual([{ type: 'heartbeat' }]);
    expect(errors.map(({ message }) => message)).toEqual(['a line is no message of the protocol']);
  });

  it('says once that it is closed, and sends nothing any more', async () => {
    const { end, socket, written, closed } = channel();
    end.close();
    end.close();
    await new Promise((resolve) => setImmediate(resolve));
    end.send({ late: true });
    socket.emit('error', new Error('EPIPE'));
    expect({ closed: closed(), written }).toEqual({ closed: 1, written: [] });
  });
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe('the protocol', () => {
  it('refuses any value that is no message, in both directions', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(() => decodeParentMessage(value)).toThrow();
        expect(() => decodeWorkerMessage(value)).toThrow();
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    { type: 'ready', version: 1_000, duckdb: 'v1', node: 'v20' },
    {
      type: 'finished',
      seq: -1,
      verdict: { ok: true, rows: 0, truncated: false },
      bytes: 0,
      runMs: 0,
      peakMemoryBytes: 0,
    },
    { type: 'finished', seq: 1, verdict: { ok: true, rows: 0 }, bytes: 0, runMs: 0, peakMemoryBytes: 0 },
    {
      type: 'finished',
      seq: 1,
      verdict: { ok: false, code: 'NONSENSE', detail: '', members: {} },
      bytes: 0,
      runMs: 0,
      peakMemoryBytes: 0,
    },
    {
      type: 'finished',
      seq: 1.5,
      verdict: { ok: true, rows: 0, truncated: false },
      bytes: 0,
      runMs: 0,
      peakMemoryBytes: 0,
    },
    { type: 'withdrawn', seq: '1' },
    { type: 'heartbeat', more: true },
    { type: 'run', seq: 1 },
    null,
    [],
  ])('%j is no message of a worker', (message) => {
    expect(() => decodeWorkerMessage(message)).toThrow();
  });
});

describe('the data pipe', () => {
  const statement = fc.record({ seq: fc.nat(2 ** 32 - 1), bytes: fc.uint8Array({ maxLength: 300 }) });

  it('gives every statement its bytes in order, wherever the reads are cut', () => {
    fc.assert(
      fc.property(fc.array(statement, { maxLength: 10 }), places, (statements, cuts) => {
        const wire = Buffer.concat(statements.flatMap(({ seq, bytes }) => [...encodeFrames(seq, bytes)]));
        const received: (readonly [number, number])[] = [];
        const decoder = new FrameDecoder((seq, bytes) => {
          expect(bytes.length).toBeGreaterThan(0);
          for (const byte of bytes) received.push([seq, byte]);
        });
        for (const piece of cut(wire, cuts)) decoder.push(piece);
        expect(received).toEqual(
          statements.flatMap(({ seq, bytes }) => [...bytes].map((byte) => [seq, byte])),
        );
      }),
    );
  });

  it('carries what is larger than a frame in several', () => {
    const bytes = Buffer.alloc(2 * MAX_FRAME + 5, 7);
    const wire = [...encodeFrames(3, bytes)];
    expect(wire).toHaveLength(6);
    let received = 0;
    const decoder = new FrameDecoder((_seq, piece) => {
      received += piece.length;
    });
    for (const chunk of wire) decoder.push(Buffer.from(chunk));
    expect(received).toBe(bytes.length);
  });

  it('refuses a frame that is longer than any worker writes', () => {
    const header = Buffer.alloc(8);
    header.writeUInt32BE(MAX_FRAME + 1, 4);
    expect(() => new FrameDecoder(() => undefined).push(header)).toThrow(ProtocolError);
  });

  it('never fails on garbage but by refusing it', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 10 }), (chunks) => {
        const decoder = new FrameDecoder(() => undefined);
        try {
          for (const chunk of chunks) decoder.push(Buffer.from(chunk));
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
    );
  });
});

describe('a reply', () => {
  it('rides with the verdict where it is small, and goes down the pipe in large pieces where it is not', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(SMALL), { maxLength: 12 }), async (sizes) => {
        const sent: Uint8Array[] = [];
        const reply = new Reply((bytes) => {
          sent.push(bytes);
          return Promise.resolve();
        });
        const pieces = sizes.map((size, index) => Buffer.alloc(size, 65 + index));
        for (const piece of pieces) await reply.write(piece);
        const { body, bytes } = await reply.finish(true);
        const whole = Buffer.concat(pieces);
        expect(body ?? Buffer.concat(sent).toString()).toBe(whole.toString());
        expect(bytes).toBe(body === undefined ? whole.length : 0);
        expect(body === undefined).toBe(whole.length > SMALL);
        for (const piece of sent.slice(0, -1)) expect(piece.length).toBeGreaterThan(SMALL);
      }),
    );
  });
});
