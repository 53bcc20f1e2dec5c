import type { ActorExit, ActorOptions, ActorRef } from '../actors/actor.ts';
import type { ChildSpec, StartContext } from './child-spec.ts';
import { type ExitReason, KILLED, NORMAL, SHUTDOWN } from './exit-reason.ts';

export type ActorChildOptions<Message> = Omit<ActorOptions<Message>, 'name'> &
  Omit<ChildSpec, 'start' | 'type'> & {
    /** Hears of every incarnation: a reference reaches one of them only. If it throws, the start has failed. */
    readonly onStarted?: (ref: ActorRef<Message>, context: StartContext) => void;
  };

/**
 * The spec of a child that is an actor, named by its id and living under the supervisor's actor.
 *
 * Messages told to a reference while the actor is down, or to the reference of an earlier incarnation, are dead
 * letters. To stop and to kill are the same for an actor: what is left in its mailbox is dropped, the actors under it
 * stop, and its `terminate` is awaited.
 */
export function actorChild<Message>(options: ActorChildOptions<Message>): ChildSpec {
  const { init, mailbox, onStarted, ...spec } = options;
  return {
    ...spec,
    start: async (context) => {
      const { system } = context.actor;
      const ref = context.actor.spawn<Message>({
        name: context.id,
        init,
        ...(mailbox === undefined ? {} : { mailbox }),
      });
      let killed = false;
      const end = () => void system.stop(ref);
      system.watch(ref, (exit) => context.exited(exitReason(exit, killed)));
      try {
        onStarted?.(ref, context);
      } catch (error) {
        await system.stop(ref);
        throw error;
      }
      return {
        stop: end,
        kill: () => {
          killed = true;
          end();
        },
      };
    },
  };
}

function exitReason(exit: ActorExit, killed: boolean): ExitReason {
  switch (exit.kind) {
    case 'normal':
      return NORMAL;
    case 'shutdown':
      return killed ? KILLED : SHUTDOWN;
    case 'crash':
      return { kind: 'error', error: exit.error };
  }
}
