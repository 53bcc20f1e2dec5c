/**
 * Restarts that an operator asks for: a worker is recycled, which lets its query end first; any other part of the tree is ended
 * and started by its own supervisor. Neither counts towards restart intensity, for nothing has failed.
 *
 * A restart is accepted first and happens then, for the part may be a long time ending. One that is asked for again while it is
 * under way is the same restart.
 */
import { ActorGoneError, type Clock } from './actors/actor.ts';
import type { WorkerRoster } from './actors/worker-roster.ts';
import { Failure } from './failures.ts';
import { invalidRequest } from './http/invalid-request.ts';
import type { RestartAccepted } from './http/services.ts';
import { checkBackoff, NO_ATTEMPTS, nextDelay } from './supervisors/backoff.ts';
import { ChildCallError, ChildStartError } from './supervisors/supervisor-errors.ts';
import type {
  ChildInfo,
  Strategy,
  SupervisionNode,
  SupervisorHandle,
} from './supervisors/supervisor-handle.ts';
import type { Events } from './telemetry/events.ts';

export interface RestartsOptions {
  /** Undefined until it has started. */
  readonly root: () => SupervisorHandle | undefined;
  readonly roster: WorkerRoster;
  readonly events: Events;
  readonly clock: Clock;
}

/** A part of the tree and the supervisor above it. */
interface Found {
  readonly node: SupervisionNode;
  readonly parent: SupervisionNode;
}

/** It would end the connection of whoever asks, and all others with it. */
const LISTENER = '/root/http';
/** Between attempts to start what does not start. */
const BACKOFF = checkBackoff('restarts', { initialMs: 100, maxMs: 10_000 });

export class Restarts {
  readonly #options: RestartsOptions;
  /** Those under way, by path. */
  readonly #pending = new Map<string, RestartAccepted>();
  readonly #cancels = new Set<() => void>();

  constructor(options: RestartsOptions) {
    this.#options = options;
  }

  /** See `OperationsService.restart`. */
  request(path: string, requestedBy: string): RestartAccepted {
    const root = this.#options.root();
    const tree = root?.snapshot();
    if (root === undefined || tree?.state !== 'running') {
      throw new Failure('SHUTTING_DOWN', 'The tree is not running, and nothing of it is restarted.', {
        retryAfter: 5,
      });
    }
    const segments = segmentsOf(path, tree);
    const { node, parent } = find(tree, segments, path);
    const pending = this.#pending.get(node.path);
    if (pending !== undefined) return pending;

    const accepted = { path: node.path, incarnation: node.incarnation };
    this.#options.events.emit('restart.requested', { ...accepted, requestedBy });
    const worker = this.#options.roster.all().find(({ ref }) => ref.path === node.path);
    if (worker === undefined) {
      this.#pending.set(node.path, accepted);
      void this.#replace(root, segments, parent.strategy).finally(() => this.#pending.delete(node.path));
    } else {
      worker.ref.tell({ type: 'recycle' });
    }
    return accepted;
  }

  /** For when the tree has ended: nobody waits to try again. */
  close(): void {
    for (const cancel of this.#cancels) cancel();
  }

  /** Never rejects. */
  async #replace(
    root: SupervisorHandle,
    segments: readonly string[],
    strategy: Strategy | null,
  ): Promise<void> {
    const id = segments.at(-1) as string;
    try {
      const parent = await handleOf(root, segments.slice(0, -1));
      if (parent === undefined) return;
      await parent.terminateChild(id);
      await this.#start(parent, id);
      // Where siblings are restarted together, they may have been waiting for this one's backoff, which ended with it.
      for (const sibling of await waitingWith(parent, id, strategy)) await this.#start(parent, sibling);
    } catch (error) {
      // Somebody else has dealt with it since: another restart, or a supervisor further up.
      if (error instanceof ActorGoneError || error instanceof ChildCallError) return;
      this.#options.events.emit('fault', { where: `restart of ${segments.join('/')}`, error });
    }
  }

  /** A supervisor leaves a child stopped that did not start when it was told to, so it is told again until it does. */
  async #start(parent: SupervisorHandle, id: string): Promise<void> {
    let backoff = NO_ATTEMPTS;
    for (;;) {
      try {
        await parent.restartChild(id);
        return;
      } catch (error) {
        if (error instanceof ChildCallError && error.code !== 'not_found') return;
        if (!(error instanceof ChildStartError)) throw error;
      }
      const { delayMs, state } = nextDelay(BACKOFF, backoff, Math.random());
      backoff = state;
      await this.#pause(delayMs);
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.setTimer(ms, () => over());
      const over = () => {
        cancel();
        this.#cancels.delete(over);
        resolve();
      };
      this.#cancels.add(over);
    });
  }
}

/** `/root/a/b`, `root/a/b` and `a/b` are the same. */
function segmentsOf(path: string, root: SupervisionNode): readonly string[] {
  const segments = path.replace(/^\//, '').split('/');
  return `/${segments[0]}` === root.path ? segments.slice(1) : segments;
}

function find(root: SupervisionNode, segments: readonly string[], asked: string): Found {
  let parent: SupervisionNode | undefined;
  let node = root;
  for (const segment of segments) {
    const child = node.children.find(({ path }) => path === `${node.path}/${segment}`);
    if (child === undefined) {
      throw new Failure('NOT_FOUND', `There is nothing at ${JSON.stringify(asked)} in the supervision tree.`);
    }
    parent = node;
    node = child;
  }
  if (parent === undefined) throw refused('the root has no supervisor; end the process, and start it again');
  if (node.path === LISTENER) throw refused('it would end the connection that asks for it, and all others');
  if (node.restart === 'temporary') throw refused('a temporary child is never started again');
  return { node, parent };
}

function refused(why: string): Failure {
  return invalidRequest([{ path: 'path', message: why }]);
}

/** The supervisor at a path; undefined if it is not there any more. */
async function handleOf(
  root: SupervisorHandle,
  segments: readonly string[],
): Promise<SupervisorHandle | undefined> {
  let handle: SupervisorHandle | undefined = root;
  for (const segment of segments) {
    const children: readonly ChildInfo[] = await handle.whichChildren();
    const child = children.find(({ id }) => id === segment)?.child;
    handle = typeof child === 'object' ? child.child.supervisor : undefined;
    if (handle === undefined) return undefined;
  }
  return handle;
}

/** The stopped siblings that the strategy restarts with a child, in the order of their start. */
async function waitingWith(
  parent: SupervisorHandle,
  id: string,
  strategy: Strategy | null,
): Promise<readonly string[]> {
  if (strategy === null || strategy === 'one_for_one') return [];
  const children = (await parent.whichChildren()).toReversed();
  const from = strategy === 'rest_for_one' ? children.findIndex((child) => child.id === id) + 1 : 0;
  return children
    .slice(from)
    .filter(({ child }) => child === undefined)
    .map((child) => child.id);
}
