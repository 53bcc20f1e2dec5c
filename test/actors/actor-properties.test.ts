import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ActorContext, type ActorOptions, ActorSystem, type Clock } from '../../src/actors/actor.ts';
import { nextTurn, type ScriptedRef, type Step, scripted } from '../support/actor-harness.ts';
import { ManualClock } from '../support/manual-clock.ts';

/** A node of a random tree; its parent is any node before it, counted round. The first one is the root. */
interface Node {
  readonly parent: number;
  readonly mailbox: number;
  readonly onChildCrash: 'escalate' | 'ignore' | 'respawn';
  readonly slowTerminate: boolean;
  readonly terminateThrows: boolean;
}

const node: fc.Arbitrary<Node> = fc.record({
  parent: fc.nat(100),
  mailbox: fc.integer({ min: 1, max: 8 }),
  onChildCrash: fc.constantFrom('escalate', 'ignore', 'respawn'),
  slowTerminate: fc.boolean(),
  terminateThrows: fc.boolean(),
});

/** What is done to the tree. A `target` is any incarnation ever spawned, counted round. */
type Op =
  | {
      readonly op: 'tell' | 'relay' | 'timer' | 'crash' | 'leave';
      readonly sender: number;
      readonly target: number;
    }
  | { readonly op: 'stop' | 'ask'; readonly target: number }
  | { readonly op: 'turn' };

const target = fc.nat(100);
const sender = fc.nat(3);
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant('tell'), sender, target }) },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constantFrom('relay', 'timer', 'crash', 'leave'), sender, target }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('stop', 'ask'), target }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('turn') }) },
);

/** What one incarnation did. */
interface Life {
  readonly ref: ScriptedRef;
  readonly parent: Life | undefined;
  readonly handled: { readonly sender: string; readonly seq: number }[];
  terminated: number;
  running: boolean;
}

/** A tree of actors, and a record of all that was told and done in it. */
class Witness {
  readonly #time = new ManualClock();
  readonly clock: Clock = {
    now: () => this.#time.now(),
    setTimer: (ms, callback) =>
      this.#time.setTimer(ms, () => {
        this.told += 1;
        callback();
      }),
  };
  readonly system = new ActorSystem({ clock: this.clock });
  readonly lives: Life[] = [];
  readonly violations: string[] = [];
  readonly answers: Promise<string>[] = [];
  readonly #nodes: readonly Node[];
  told = 0;
  #messages = 0;

  constructor(nodes: readonly Node[]) {
    this.#nodes = nodes;
    this.system.spawn(this.#actor(0, undefined));
  }

  get pendingTimers(): number {
    return this.#time.pendingTimers;
  }

  async apply(each: Op): Promise<void> {
    switch (each.op) {
      case 'turn':
        this.#time.advance(1);
        return nextTurn();
      case 'tell':
        return this.#tell(each, () => undefined);
      case 'relay': {
        const relay: Step = (me) =>
          this.#tell({ sender: me.self.path, target: each.target + each.sender + 1 }, () => undefined);
        return this.#tell(each, relay);
      }
      case 'timer': {
        const life = this.#life(each.target);
        const message = this.#message(`timer ${this.#messages}`, life, () => undefined);
        return this.#tell(each, (me) => me.after(each.sender, message));
      }
      case 'crash':
        return this.#tell(each, () => {
          throw new Error('crash');
        });
      case 'leave':
        return this.#tell(each, (me) => me.stop());
      case 'stop':
        return void this.system.stop(this.#life(each.target).ref);
      case 'ask':
        return this.#ask(this.#life(each.target));
      default:
        each satisfies never;
    }
  }

  #life(index: number): Life {
    return this.lives[index % this.lives.length] as Life;
  }

  #tell(to: { readonly sender: number | string; readonly target: number }, then: Step): void {
    const life = this.#life(to.target);
    this.told += 1;
    life.ref.tell(this.#message(`${to.sender}`, life, then));
  }

  #ask(life: Life): void {
    this.told += 1;
    const question = this.told;
    const answer = this.system.ask<Step, number>(life.ref, (reply) =>
      this.#message(`ask ${question}`, life, () => reply(question)),
    );
    this.answers.push(
      answer.then(
        (value) => (value === question ? 'answered' : 'the answer to another question'),
        (error: Error) => error.name,
      ),
    );
  }

  #message(from: string, to: Life, then: Step): Step {
    this.#messages += 1;
    const seq = this.#messages;
    return (me) => {
      if (me.self !== to.ref)
        this.violations.push(`a message for ${to.ref.path} reached another incarnation`);
      to.handled.push({ sender: from, seq });
      this.#alone(to, () => then(me));
    };
  }

  #actor(index: number, parent: Life | undefined): ActorOptions<Step> {
    const { mailbox, onChildCrash, slowTerminate, terminateThrows } = this.#nodes[index] as Node;
    let life: Life | undefined;
    let spawnChild: (child: number) => void = () => undefined;
    return scripted(`${index}`, {
      mailbox,
      init: (me: ActorContext<Step>) => {
        const own: Life = { ref: me.self, parent, handled: [], terminated: 0, running: false };
        life = own;
        this.lives.push(own);
        spawnChild = (child) => void me.spawn(this.#actor(child, own));
        this.#nodes.forEach((child, at) => {
          if (at > 0 && child.parent % at === index) spawnChild(at);
        });
      },
      ...(onChildCrash !== 'escalate' && {
        childExited: (child, exit) => {
          if (life === undefined || exit.kind !== 'crash' || onChildCrash === 'ignore') return;
          this.#alone(life, () => spawnChild(Number(child.name)));
        },
      }),
      terminate: async () => {
        if (life !== undefined) this.#terminated(life);
        if (slowTerminate) await nextTurn();
        if (terminateThrows) throw new Error('terminate');
      },
    });
  }

  #alone(life: Life, work: () => void): void {
    if (life.running) this.violations.push(`${life.ref.path} runs twice at once`);
    if (life.terminated > 0) this.violations.push(`${life.ref.path} runs after its last words`);
    life.running = true;
    try {
      work();
    } finally {
      life.running = false;
    }
  }

  #terminated(life: Life): void {
    if (life.running) this.violations.push(`${life.ref.path} says its last words amid a message`);
    for (const child of this.lives) {
      if (child.parent === life && child.terminated === 0)
        this.violations.push(`${life.ref.path} ends before its child`);
    }
    life.terminated += 1;
  }
}

test('whatever is told, stopped and crashed in whatever tree: no message is lost or doubled, nobody is left', async () => {
  const nodes = fc.array(node, { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(nodes, fc.array(op, { maxLength: 60 }), async (tree, ops) => {
      const witness = new Witness(tree);
      for (const each of ops) await witness.apply(each);
      await witness.system.stopAll();

      const { lives, system, told, violations } = witness;
      expect(violations).toEqual([]);
      expect(lives.map((life) => life.terminated)).toEqual(lives.map(() => 1));
      expect([system.stats.live, witness.pendingTimers]).toEqual([0, 0]);

      const handled = lives.flatMap((life) => life.handled);
      expect(new Set(handled.map(({ seq }) => seq)).size).toBe(handled.length);
      expect(handled.length + system.stats.deadLetters + system.stats.refused).toBe(told);
      for (const life of lives) {
        const last = new Map<string, number>();
        for (const each of life.handled) {
          expect(each.seq).toBeGreaterThan(last.get(each.sender) ?? 0);
          last.set(each.sender, each.seq);
        }
      }
      for (const outcome of await Promise.all(witness.answers))
        expect(['answered', 'ActorGoneError', 'MailboxFullError']).toContain(outcome);
    }),
    { numRuns: 300 },
  );
});
