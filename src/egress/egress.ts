/**
 * Egress: the part of the supervision tree that serves finished exports from a process of its own, and the links to them.
 *
 * `egress` is a supervisor without a limit: however often its process dies, the rest of the tree does not notice. It has one child,
 * `process`, as long as there is a pool for exports. Key and port are kept for as long as the server runs, so the links that were
 * given out work again as soon as the process is back.
 */
import { randomBytes } from 'node:crypto';
import { ActorGoneError } from '../actors/actor.ts';
import { isSame } from '../config/changes.ts';
import type { Config } from '../config/schema.ts';
import type { ListeningAddress } from '../http/listener.ts';
import type { Child, ChildSpec, StartContext } from '../supervisors/child-spec.ts';
import { KILLED, SHUTDOWN } from '../supervisors/exit-reason.ts';
import { supervisorChild } from '../supervisors/supervisor-child.ts';
import { ChildCallError } from '../supervisors/supervisor-errors.ts';
import type { SupervisorEvent } from '../supervisors/supervisor-event.ts';
import type { SupervisorHandle } from '../supervisors/supervisor-handle.ts';
import type { Events } from '../telemetry/events.ts';
import { EgressExitError, EgressProcess } from './egress-process.ts';
import { EGRESS_MAIN } from './launch.ts';
import { KEY_BYTES, signLink } from './links.ts';

/** What those who make exports need of it. */
export interface ExportLinks {
  /** The link to a file of a finished export; `expiresAt` in milliseconds since the epoch. */
  sign(exportId: string, path: string, expiresAt: number): string;
}

export interface EgressOptions {
  readonly config: () => Config;
  /** Of all exports; it is there, and no link is in its path. */
  readonly folder: string;
  readonly events: Events;
  readonly onEvent: (event: SupervisorEvent) => void;
  /** Milliseconds that downloads have to end when the process is told to. */
  readonly stopWithinMs: () => number;
}

const CHILD = 'process';
const SILENCE_MS = 15_000;

export class Egress implements ExportLinks {
  readonly #options: EgressOptions;
  readonly #key = randomBytes(KEY_BYTES);
  #supervisor: SupervisorHandle | undefined;
  #process: EgressProcess | undefined;
  /** Where it listens, or did last: where it is to listen again. */
  #address: ListeningAddress | undefined;
  #isUp = false;
  /** What the process that runs was started with. */
  #settings: Config['exports']['egress'] | undefined;

  constructor(options: EgressOptions) {
    this.#options = options;
  }

  /** What the links begin with; undefined while nobody serves them. */
  get url(): string | undefined {
    return this.#isUp ? this.#base : undefined;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Also while the process is down: it comes back where it was. */
  sign(exportId: string, path: string, expiresAt: number): string {
    return signLink(this.#key, this.#base, { exportId, path, expiresAt });
  }

  /** The child for the root of the tree. */
  spec(): ChildSpec {
    return supervisorChild({
      id: 'egress',
      intensity: Number.POSITIVE_INFINITY,
      onEvent: this.#options.onEvent,
      init: () => ({ children: this.#isWanted ? [this.#child()] : [] }),
      onStarted: (supervisor) => {
        this.#supervisor = supervisor;
      },
      children: [],
    });
  }

  /** Follows the configuration: starts the process, ends it, or has it begin anew where it listens now. */
  async reconfigure(): Promise<void> {
    const supervisor = this.#supervisor;
    if (supervisor === undefined) return;
    try {
      const hasProcess = (await supervisor.whichChildren()).some(({ id }) => id === CHILD);
      const listensElsewhere = hasProcess && !isSame(this.#settings, this.#wanted);
      this.#process?.set(this.#options.config().server.client_write_timeout);
      if (hasProcess && (!this.#isWanted || listensElsewhere)) {
        await supervisor.terminateChild(CHILD);
        await supervisor.deleteChild(CHILD);
      }
      if (this.#isWanted && (!hasProcess || listensElsewhere)) await supervisor.startChild(this.#child());
    } catch (error) {
      // The supervisor is being started anew, and asks for the configuration itself.
      if (!(error instanceof ActorGoneError) && !(error instanceof ChildCallError)) throw error;
    }
  }

  get #isWanted(): boolean {
    return Object.hasOwn(this.#options.config().pools, 'exports');
  }

  get #wanted(): Config['exports']['egress'] {
    return this.#options.config().exports.egress;
  }

  get #host(): string {
    const { exports, server } = this.#options.config();
    return exports.egress.host ?? server.host;
  }

  get #base(): string {
    const base = this.#wanted.url ?? this.#address?.url;
    if (base === undefined) throw new Error('the egress process has never listened anywhere');
    return base.replace(/\/+$/, '');
  }

  #child(): ChildSpec {
    return {
      id: CHILD,
      // It ends by itself, or is killed, soon after the time that downloads have.
      shutdown: 'infinity',
      backoff: { initialMs: 100, maxMs: 10_000 },
      start: (context) => this.#start(context),
    };
  }

  /**
   * With the server, an address that cannot be had fails the start, as that of the API does. From then on a process that cannot
   * start is one that ended: it is tried again, and nobody waits for it.
   */
  async #start({ incarnation, exited }: StartContext): Promise<Child> {
    const { events, config, folder } = this.#options;
    const isFirst = this.#supervisor === undefined;
    if (!isSame(this.#settings, this.#wanted)) this.#address = undefined;
    this.#settings = this.#wanted;
    const host = this.#host;
    const port = this.#address?.port ?? this.#wanted.port;
    let isStopping = false;
    let wasKilled = false;
    let hasStarted = !isFirst;
    const child = await new Promise<EgressProcess>((resolve, reject) => {
      const process: EgressProcess = new EgressProcess({
        main: EGRESS_MAIN,
        folder,
        key: this.#key,
        host,
        port,
        clientWriteTimeoutMs: config().server.client_write_timeout,
        silenceMs: SILENCE_MS,
        onListening: (address) => {
          this.#address = address;
          this.#isUp = true;
          const { pid, uptimeMs } = process;
          events.emit('egress.started', { incarnation, pid, url: address.url, startMs: uptimeMs });
          hasStarted = true;
          resolve(process);
        },
        onExit: (exit) => {
          this.#isUp = false;
          this.#process = undefined;
          events.emit('egress.exited', { incarnation, ...exit });
          const error = new EgressExitError(exit, `${host}:${port}`);
          if (!hasStarted) reject(error);
          else exited(wasKilled ? KILLED : isStopping ? SHUTDOWN : { kind: 'error', error });
        },
      });
      this.#process = process;
      if (!isFirst) resolve(process);
    });
    return {
      stop: () => {
        isStopping = true;
        child.stop(this.#options.stopWithinMs());
      },
      kill: () => {
        wasKilled = true;
        child.kill();
      },
    };
  }
}
