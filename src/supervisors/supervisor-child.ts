import type { ChildSpec, StartContext } from './child-spec.ts';
import type { SupervisorHandle } from './supervisor-handle.ts';
import type { SupervisorOptions } from './supervisor-options.ts';
import { startKillableSupervisor } from './supervisor-start.ts';

export type SupervisorChildOptions = Omit<SupervisorOptions, 'name'> &
  Omit<ChildSpec, 'start' | 'type'> & {
    /** Asked before every start; what it says is in force in place of the options of the same name (OTP, `init/1`). */
    readonly init?: () => Partial<
      Pick<SupervisorOptions, 'strategy' | 'intensity' | 'periodMs' | 'children'>
    >;
    /** Hears of every incarnation, once its children have started. If it throws, the start has failed. */
    readonly onStarted?: (supervisor: SupervisorHandle, context: StartContext) => void;
  };

/**
 * The spec of a child that is a supervisor itself, started anew with these options each time.
 *
 * When it gives up it exits with `shutdown`, as in OTP: as a permanent child it is restarted, as a transient one it is
 * not. Its default shutdown, `infinity`, gives it the time its own children need.
 */
export function supervisorChild(options: SupervisorChildOptions): ChildSpec {
  const { onStarted, init, strategy, intensity, periodMs, children, onEvent, random, ...spec } = options;
  const own = withoutUndefined({ strategy, intensity, periodMs, onEvent, random });
  return {
    ...spec,
    type: 'supervisor',
    start: async (context) => {
      const { handle, kill } = await startKillableSupervisor(context.actor, {
        ...own,
        name: context.id,
        children,
        ...init?.(),
      });
      void handle.exited.then(context.exited);
      try {
        onStarted?.(handle, context);
      } catch (error) {
        await handle.stop();
        throw error;
      }
      return { supervisor: handle, stop: () => void handle.stop(), kill };
    },
  };
}

type Defined<Options> = { [Key in keyof Options]?: Exclude<Options[Key], undefined> };

function withoutUndefined<Options extends object>(options: Options): Defined<Options> {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as Defined<Options>;
}
