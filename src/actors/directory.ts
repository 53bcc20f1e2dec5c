/**
 * Names that outlive incarnations: who is the queue of this pool now? (OTP: registered names.)
 * An entry goes when its actor does; whoever comes next under the name registers anew.
 */
import type { ActorRef, ActorSystem, AnyActorRef } from './actor.ts';

/** A name that leads to actors of one protocol only. */
export interface Key<Message> {
  readonly name: string;
  readonly message?: Message;
}

export class Directory {
  readonly #system: ActorSystem;
  readonly #entries = new Map<string, AnyActorRef>();

  constructor(system: ActorSystem) {
    this.#system = system;
  }

  register<Message>(key: Key<Message>, ref: ActorRef<Message>): void {
    this.#entries.set(key.name, ref);
    this.#system.watch(ref, () => {
      if (this.#entries.get(key.name) === ref) this.#entries.delete(key.name);
    });
  }

  whereis<Message>(key: Key<Message>): ActorRef<Message> | undefined {
    return this.#entries.get(key.name) as ActorRef<Message> | undefined;
  }
}
