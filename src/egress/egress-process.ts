/**
 * The egress process as the server sees it: started, told where to listen, and, whatever happens, ended.
 *
 * ```
 *             listening                stop
 *   starting ----------> listening ----------> stopping ----> exited
 *      |                     |                     |            ^
 *      +---------------------+---------------------+------------+
 *                       exit, asked for or not
 * ```
 * The exit of the process is the only truth about its death, and is told once.
 */
import type { ChildProcess } from 'node:child_process';
import type { Duplex } from 'node:stream';
import type { ListeningAddress } from '../http/listener.ts';
import { ControlChannel } from '../workers/control-channel.ts';
import { launchEgress } from './launch.ts';
import {
  CHANNEL_FD,
  type Configure,
  decodeFromEgress,
  type FromEgress,
  MAX_LINE,
  type ToEgress,
} from './protocol.ts';

/** `failed`: it could not begin, and said why. `unresponsive`: no sign of life, so it was killed. `crash`: nobody asked for it. */
export type EgressExitCause = 'crash' | 'failed' | 'unresponsive' | 'shutdown';

export interface EgressExit {
  readonly cause: EgressExitCause;
  readonly pid: number | undefined;
  readonly signal: string | undefined;
  readonly exitCode: number | undefined;
  /** What the process said, where it did. */
  readonly detail: string | undefined;
  /** Of the system (errno(3)), where it could not begin for that. */
  readonly errorCode: string | undefined;
  /** The last lines of its stderr, oldest first. */
  readonly lastLines: readonly string[];
  /** Milliseconds. */
  readonly uptimeMs: number;
}

export interface EgressProcessOptions extends Omit<Configure, 'type' | 'key'> {
  readonly main: string;
  readonly key: Uint8Array;
  /** Milliseconds that it may give no sign of life; also while it starts. */
  readonly silenceMs: number;
  readonly onListening: (address: ListeningAddress) => void;
  /** Once, last. */
  readonly onExit: (exit: EgressExit) => void;
}

/** Milliseconds that it has to end beyond those its downloads have. */
const STOP_GRACE_MS = 1_000;
const LAST_LINES = 20;

export class EgressProcess {
  readonly #options: EgressProcessOptions;
  readonly #child: ChildProcess;
  readonly #channel: ControlChannel<FromEgress, ToEgress> | undefined;
  readonly #startedAt = performance.now();
  #lines: readonly string[] = [];
  #detail: string | undefined;
  #errorCode: string | undefined;
  #cause: EgressExitCause = 'crash';
  #silence: NodeJS.Timeout | undefined;
  #stopTimer: NodeJS.Timeout | undefined;
  #hasExited = false;

  constructor(options: EgressProcessOptions) {
    this.#options = options;
    const { main, folder, key, host, port, clientWriteTimeoutMs } = options;
    this.#child = launchEgress({ main, folder });
    // Such as EAGAIN: no process has come of it, and no exit will.
    this.#child.once('error', (error) => this.#failedToStart(error));
    this.#child.once('close', (code, signal) => this.#exited(code, signal));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#keep(text));
    // Where the process could not be made there is none.
    const socket = this.#child.stdio[CHANNEL_FD] as Duplex | null | undefined;
    if (!socket) return;
    this.#channel = new ControlChannel<FromEgress, ToEgress>(socket, {
      decode: decodeFromEgress,
      onMessage: (message) => this.#receive(message),
      onProtocolError: (error) => {
        this.#detail = error.message;
        this.kill();
      },
      onClose: () => undefined,
      maxLine: MAX_LINE,
    });
    this.#alive();
    this.#channel.send({
      type: 'configure',
      folder,
      host,
      port,
      key: Buffer.from(key).toString('base64url'),
      clientWriteTimeoutMs,
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Milliseconds since it was started. */
  get uptimeMs(): number {
    return performance.now() - this.#startedAt;
  }

  /** What can be changed while it runs. */
  set(clientWriteTimeoutMs: number): void {
    this.#channel?.send({ type: 'settings', clientWriteTimeoutMs });
  }

  /** Nothing new is served; downloads have `withinMs` to end. */
  stop(withinMs: number): void {
    this.#cause = 'shutdown';
    this.#channel?.send({ type: 'stop', withinMs });
    this.#stopTimer ??= setTimeout(() => this.kill(), withinMs + STOP_GRACE_MS);
    if (this.#hasExited) clearTimeout(this.#stopTimer);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #receive(message: FromEgress): void {
    this.#alive();
    switch (message.type) {
      case 'listening':
        this.#options.onListening({ url: message.url, port: message.port });
        return;
      case 'failed':
        if (this.#cause === 'crash') this.#cause = 'failed';
        this.#detail = message.detail;
        this.#errorCode = message.code;
        return;
      case 'heartbeat':
        return;
      default:
        message satisfies never;
    }
  }

  #alive(): void {
    clearTimeout(this.#silence);
    if (this.#hasExited) return;
    this.#silence = setTimeout(() => {
      this.#cause = 'unresponsive';
      this.kill();
    }, this.#options.silenceMs);
  }

  #keep(text: string): void {
    const lines = [...this.#lines.slice(0, -1), ...`${this.#lines.at(-1) ?? ''}${text}`.split('\n')];
    this.#lines = lines.slice(-LAST_LINES).map((line) => line.slice(0, 1_000));
  }

  #failedToStart(error: Error): void {
    this.#detail = error.message;
    if (this.#child.pid === undefined) this.#exited(null, null);
  }

  #exited(code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#hasExited) return;
    this.#hasExited = true;
    clearTimeout(this.#silence);
    clearTimeout(this.#stopTimer);
    this.#channel?.close();
    this.#options.onExit({
      cause: this.#cause,
      pid: this.#child.pid,
      signal: signal ?? undefined,
      exitCode: code ?? undefined,
      detail: this.#detail,
      errorCode: this.#errorCode,
      lastLines: this.#lines.filter((line) => line !== ''),
      uptimeMs: this.uptimeMs,
    });
  }
}

/** What the egress process ended with that nobody asked to end. */
export class EgressExitError extends Error {
  override readonly name = 'EgressExitError';
  /** Where it was to listen. */
  readonly where: string;
  /** Of the system, where it could not. */
  readonly code: string | undefined;

  constructor({ cause, detail, errorCode, signal, exitCode, lastLines }: EgressExit, where: string) {
    const how = signal === undefined ? `ended with exit code ${exitCode}` : `died of ${signal}`;
    super(
      cause === 'failed'
        ? `the egress process cannot listen on ${where}: ${detail}`
        : `the egress process ${how}: ${detail ?? lastLines.at(-1) ?? cause}`,
    );
    this.where = where;
    this.code = errorCode;
  }
}
