import type {
  ChildPlan,
  NestedPlan,
  Op,
  Reason,
  Scenario,
  ShutdownPlan,
  StartPlan,
  Step,
  SupervisorPlan,
  WorkerPlan,
} from './scenario.ts';

/** Scenarios `first` to `first + count - 1` of a seed: the same ones, whatever the machine. */
export function randomScenarios(seed: number, count: number): Scenario[] {
  return Array.from({ length: count }, (_, index) =>
    new Dice(seed + index).scenario(`random ${seed + index}`),
  );
}

// Ids say what they are, because only workers can be made to exit.
const WORKERS = ['a', 'b', 'c', 'd', 'e'];
const SUPERVISORS = ['s', 't'];

class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed, 0x9e3779b1);
  }

  scenario(name: string): Scenario {
    const supervisor = this.#supervisor('root', 2);
    const paths = ['root', ...nestedPaths('root', supervisor)];
    const steps = this.#list(1, 6, () => this.#step(paths));
    return { name, supervisor, steps: [...steps, { at: 'root', ops: [{ op: 'stop' }] }] };
  }

  #supervisor(at: string, depth: number): SupervisorPlan {
    const ids = [...WORKERS.slice(0, this.#whole(1, 4))];
    if (depth > 0 && this.#chance(0.35)) ids.splice(this.#whole(0, ids.length), 0, this.#pick(SUPERVISORS));
    return {
      strategy: this.#pick(['one_for_one', 'one_for_all', 'rest_for_one']),
      intensity: this.#whole(0, 4),
      children: ids.map((id) => this.#child(at, id, depth - 1)),
    };
  }

  #child(at: string, id: string, depth: number): ChildPlan {
    return SUPERVISORS.includes(id) ? this.#nested(at, id, depth) : this.#worker(at, id);
  }

  #nested(at: string, id: string, depth: number): NestedPlan {
    return {
      id,
      restart: this.#restart(),
      // Its children are ended in order only if nobody kills it over their heads.
      shutdown: this.#pick(['infinity', 60_000]),
      type: 'supervisor',
      starts: this.#chance(0.2) ? this.#list(1, 3, () => this.#pick(['ok', 'ok', 'ignore', 'fail'])) : [],
      supervisor: this.#supervisor(`${at}/${id}`, depth),
    };
  }

  #worker(at: string, id: string): WorkerPlan {
    const on_shutdown = this.#onShutdown(id);
    const first = this.#chance(0.06) ? [this.#start(at, id)] : ['ok' as const];
    return {
      id,
      restart: this.#restart(),
      // Whoever ignores being told to stop has to be killed soon; whoever does not must have all the time it needs.
      shutdown:
        on_shutdown === 'ignore'
          ? this.#pick(['brutal_kill', 0, 1, 2])
          : this.#pick(['brutal_kill', 'infinity', 60_000]),
      type: 'worker',
      starts: this.#chance(0.5) ? [...first, ...this.#list(0, 5, () => this.#start(at, id))] : first,
      on_shutdown,
    };
  }

  #restart(): WorkerPlan['restart'] {
    return this.#pick(['permanent', 'permanent', 'transient', 'temporary']);
  }

  #start(at: string, id: string): StartPlan {
    // A supervisor that finds an exit in its queue when it has just started runs side by side with the one above, and
    // nobody can say whose events come first. Below the root nothing ends while something starts.
    const roll = this.#next() * (at === 'root' ? 1 : 0.8);
    if (roll < 0.35) return 'ok';
    if (roll < 0.6) return 'fail';
    if (roll < 0.7) return 'raise';
    if (roll < 0.8) return 'ignore';
    return roll < 0.9 ? { dies: this.#reason() } : { ends: [this.#otherThan(id), this.#reason()] };
  }

  #onShutdown(id: string): ShutdownPlan {
    const roll = this.#next();
    if (roll < 0.6) return 'exit';
    if (roll < 0.75) return 'ignore';
    return roll < 0.88
      ? { exit: this.#pick<Exclude<Reason, 'kill'>>(['normal', { shutdown: 'late' }, { error: 'late' }]) }
      : { ends: [this.#otherThan(id), this.#reason()] };
  }

  #reason(): Reason {
    return this.#pick<Reason>([
      'normal',
      'shutdown',
      { shutdown: 'done' },
      { error: 'broken' },
      { error: 'broken' },
      'kill',
    ]);
  }

  #step(paths: readonly string[]): Step {
    const at = this.#chance(0.6) ? 'root' : this.#pick(paths);
    return { at, ops: this.#list(1, 4, () => this.#op(at)) };
  }

  #op(at: string): Op {
    const roll = this.#next();
    if (roll < 0.5) return { op: 'exit', id: this.#pick(WORKERS.slice(0, 4)), reason: this.#reason() };
    if (roll < 0.65) return { op: 'start_child', child: this.#child(at, this.#anyId(), 0) };
    if (roll < 0.9) {
      return { op: this.#pick(['terminate_child', 'restart_child', 'delete_child']), id: this.#anyId() };
    }
    return { op: this.#pick(['which_children', 'count_children']) };
  }

  #anyId(): string {
    return this.#pick([...WORKERS, ...SUPERVISORS]);
  }

  #otherThan(id: string): string {
    return this.#pick(WORKERS.filter((other) => other !== id));
  }

  #list<Item>(least: number, most: number, item: () => Item): Item[] {
    return Array.from({ length: this.#whole(least, most) }, item);
  }

  #pick<Item>(from: readonly Item[]): Item {
    return from[this.#whole(0, from.length - 1)] as Item;
  }

  #whole(least: number, most: number): number {
    return least + Math.floor(this.#next() * (most - least + 1));
  }

  #chance(probability: number): boolean {
    return this.#next() < probability;
  }

  /** mulberry32 */
  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }
}

function nestedPaths(at: string, { children }: SupervisorPlan): string[] {
  return children.flatMap((child) =>
    child.type === 'supervisor'
      ? [`${at}/${child.id}`, ...nestedPaths(`${at}/${child.id}`, child.supervisor)]
      : [],
  );
}
