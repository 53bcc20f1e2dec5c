/**
 * What comes of the statements that a worker process has been sent: bytes by two ways, framed on its data channel (data-frames.ts) or by
 * the pipe that DuckDB itself writes to (result-pipe.ts), and in the end a verdict. A statement has finished when its verdict has
 * come and all of its bytes have.
 */
import type { Duplex } from 'node:stream';
import { ProtocolError } from './control-channel.ts';
import { FrameDecoder } from './data-frames.ts';
import type { Finished, ParentMessage, Progress } from './protocol.ts';
import { ResultPipe } from './result-pipe.ts';

export interface IncomingResultsOptions {
  /** Result bytes of statement `seq`; views, to be kept or copied by whoever gets them. */
  readonly bytes: (seq: number, bytes: Uint8Array) => void;
  /** Once for each statement, in the order of their verdicts; `bytes` are all of both ways. */
  readonly finished: (result: Finished) => void;
  readonly send: (message: Extract<ParentMessage, { type: 'flowing' | 'taken' }>) => void;
  /** The worker broke the protocol: nothing more of it counts. */
  readonly broken: (error: Error) => void;
}

/** Bytes of a result, by the way they came. */
interface Received {
  framed: number;
  piped: number;
}

export class IncomingResults {
  readonly #options: IncomingResultsOptions;
  /** Of each statement it has been sent, until its end is told. */
  readonly #received = new Map<number, Received>();
  /** Verdicts that came before the last of their bytes, in order. */
  readonly #verdicts: Finished[] = [];
  #data: Duplex | undefined;
  /** While DuckDB itself may write a result. */
  #pipe: ResultPipe | undefined;
  #isPaused = false;
  #isBroken = false;
  #hasExited = false;

  constructor(options: IncomingResultsOptions) {
    this.#options = options;
  }

  /** The statement that the worker is at: of those it has been sent, the first one whose end is not told. */
  get current(): number | undefined {
    return this.#received.keys().next().value;
  }

  /** To be called before a statement is sent. */
  expect(seq: number): void {
    this.#received.set(seq, { framed: 0, piped: 0 });
  }

  /** A statement was taken back: whether it was there. */
  forget(seq: number): boolean {
    return this.#received.delete(seq);
  }

  listen(data: Duplex): void {
    this.#data = data;
    const frames = new FrameDecoder((seq, bytes) => this.#framed(seq, bytes));
    data.on('data', (chunk: Buffer) => {
      try {
        if (!this.#isBroken) frames.push(chunk);
      } catch (error) {
        this.#break(error as Error);
      }
    });
    data.on('error', () => undefined);
  }

  /** Reads no more until {@link resume}: the process waits in its write. What a process that has died wrote is read in any case. */
  pause(): void {
    if (this.#hasExited) return;
    this.#isPaused = true;
    this.#data?.pause();
    this.#pipe?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#data?.resume();
    this.#pipe?.resume();
  }

  verdict(result: Finished): void {
    if (!this.#received.has(result.seq)) this.#unasked('a verdict', result.seq);
    else {
      this.#verdicts.push(result);
      this.#tellVerdicts();
    }
  }

  /** With the bytes that the worker does not see; undefined for a statement whose end is told. */
  withPiped(progress: Progress): Progress | undefined {
    const received = this.#received.get(progress.seq);
    return received && { ...progress, bytes: progress.bytes + received.piped };
  }

  /** From now on DuckDB may write what comes of the statement to the pipe at `path`. */
  openPipe(path: string, seq: number): void {
    const received = this.#received.get(seq);
    if (received === undefined || this.#pipe !== undefined) {
      this.#unasked('a pipe', seq);
      return;
    }
    // Said before the process died, and read after: there is nobody to write to it.
    if (this.#hasExited) return;
    try {
      this.#pipe = new ResultPipe(path, seq, (bytes) => {
        if (this.#isBroken) return;
        if (received.piped === 0) this.#options.send({ type: 'flowing', seq });
        received.piped += bytes.length;
        this.#options.bytes(seq, bytes);
      });
    } catch (error) {
      this.#break(error as Error);
      return;
    }
    if (this.#isPaused) this.#pipe.pause();
  }

  /** DuckDB has written all of it. */
  endPipe(seq: number): void {
    if (this.#hasExited) return;
    if (this.#pipe?.seq !== seq) {
      this.#unasked('the end of a pipe', seq);
      return;
    }
    this.#drainPipe();
    this.#options.send({ type: 'taken', seq });
  }

  /** The process is gone; what it has written is read to its end. */
  exited(): void {
    this.#hasExited = true;
    this.resume();
    this.#drainPipe();
  }

  /** The worker broke the protocol, here or elsewhere: whatever it sends is thrown away. */
  ignore(): void {
    this.#isBroken = true;
  }

  #framed(seq: number, bytes: Uint8Array): void {
    if (this.#isBroken) return;
    const received = this.#received.get(seq);
    if (received === undefined) {
      this.#unasked('bytes', seq);
      return;
    }
    received.framed += bytes.length;
    this.#options.bytes(seq, bytes);
    if (this.#verdicts.length > 0) this.#tellVerdicts();
  }

  #drainPipe(): void {
    this.#pipe?.end();
    this.#pipe = undefined;
  }

  #tellVerdicts(): void {
    for (let next = this.#verdicts[0]; next !== undefined; next = this.#verdicts[0]) {
      const { framed, piped } = this.#received.get(next.seq) ?? { framed: 0, piped: 0 };
      if (framed < next.bytes) return;
      if (framed > next.bytes) {
        this.#break(new ProtocolError(`${framed} bytes of statement ${next.seq}, which has ${next.bytes}`));
        return;
      }
      this.#verdicts.shift();
      this.#received.delete(next.seq);
      // Of a call that was left behind with its process: nobody hears what it may still write.
      if (this.#pipe?.seq === next.seq) {
        this.#pipe.close();
        this.#pipe = undefined;
      }
      this.#options.finished(piped === 0 ? next : { ...next, bytes: framed + piped });
    }
  }

  #unasked(what: string, seq: number): void {
    this.#break(new ProtocolError(`${what} of statement ${seq}, which it does not have`));
  }

  #break(error: Error): void {
    this.ignore();
    this.#options.broken(error);
  }
}
