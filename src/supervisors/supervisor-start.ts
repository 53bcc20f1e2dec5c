import type { ActorContext } from '../actors/actor.ts';
import { checkChildSpec } from './child-spec.ts';
import type { ExitReason } from './exit-reason.ts';
import { Supervisor, type SupervisorMessage } from './supervisor.ts';
import type { Call, Outcome } from './supervisor-call.ts';
import type { SupervisorHandle } from './supervisor-handle.ts';
import {
  type CheckedSupervisorOptions,
  checkSupervisorOptions,
  type SupervisorOptions,
} from './supervisor-options.ts';

/** What actors are spawned under: an actor system or an actor's context. */
export type Spawner = Pick<ActorContext<never>, 'spawn'>;

/**
 * Spawns a supervisor and resolves once all its children have started.
 * Rejects with `InvalidOptionError`, or with `SupervisorStartError` if a child did not start; those before it are
 * stopped again by then, and nothing is left.
 */
export async function startSupervisor(
  parent: Spawner,
  options: SupervisorOptions,
): Promise<SupervisorHandle> {
  return (await startKillableSupervisor(parent, options)).handle;
}

/** The same, with what only the supervisor above may do: {@link Supervisor.kill}. */
export async function startKillableSupervisor(
  parent: Spawner,
  options: SupervisorOptions,
): Promise<{ readonly handle: SupervisorHandle; readonly kill: () => void }> {
  const checked = checkSupervisorOptions(options);
  const { supervisor, context } = spawn(parent, checked);
  const handle = handleOf(supervisor, context);
  const failure = await Promise.race([supervisor.started, handle.exited]);
  if (failure !== undefined) throw startFailure(failure);
  return { handle, kill: () => supervisor.kill() };
}

function spawn(parent: Spawner, options: CheckedSupervisorOptions) {
  const spawned: { supervisor: Supervisor; context: ActorContext<SupervisorMessage> }[] = [];
  parent.spawn<SupervisorMessage>({
    name: options.name,
    // Exits and calls must never be lost to a full mailbox.
    mailbox: Number.POSITIVE_INFINITY,
    init: (context) => {
      const supervisor = new Supervisor(context, options);
      spawned.push({ supervisor, context });
      return supervisor;
    },
  });
  return spawned[0] as (typeof spawned)[number];
}

function handleOf(supervisor: Supervisor, context: ActorContext<SupervisorMessage>): SupervisorHandle {
  const { self, system } = context;
  const exited = system.exited(self).then(() => supervisor.exitReason);
  const ask = async <Value>(call: (reply: (outcome: Outcome<Value>) => void) => Call): Promise<Value> => {
    const outcome = await system.ask<SupervisorMessage, Outcome<Value>>(self, (reply) => ({
      type: 'call',
      call: call(reply),
    }));
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  };
  return {
    path: self.path,
    ref: self,
    exited,
    startChild: async (spec) => {
      const checked = checkChildSpec(spec);
      return ask((reply) => ({ call: 'start_child', spec: checked, reply }));
    },
    restartChild: (id) => ask((reply) => ({ call: 'restart_child', id, reply })),
    terminateChild: (id) => ask((reply) => ({ call: 'terminate_child', id, reply })),
    deleteChild: (id) => ask((reply) => ({ call: 'delete_child', id, reply })),
    reconfigure: (changes) => ask((reply) => ({ call: 'reconfigure', changes, reply })),
    whichChildren: () => ask((reply) => ({ call: 'which_children', reply })),
    countChildren: () => ask((reply) => ({ call: 'count_children', reply })),
    snapshot: () => supervisor.snapshot(),
    stop: () => {
      if (system.isAlive(self)) self.tell({ type: 'stop' });
      return exited;
    },
  };
}

/** What the start of a supervisor that ended instead rejects with. */
function startFailure(reason: ExitReason): unknown {
  if (reason.kind === 'error') return reason.error;
  if (reason.kind === 'shutdown' && reason.detail !== undefined) return reason.detail;
  return new Error(`the supervisor ended while it started: ${reason.kind}`);
}
