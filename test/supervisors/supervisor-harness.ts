import type { SupervisorEvent } from '../../src/supervisors/supervisor-event.ts';
import type { SupervisorHandle } from '../../src/supervisors/supervisor-handle.ts';
import type { SupervisorOptions } from '../../src/supervisors/supervisor-options.ts';
import { startSupervisor } from '../../src/supervisors/supervisor-start.ts';
import { actorHarness, nextTurn } from '../support/actor-harness.ts';

/** A supervisor on a manual clock, with what it told. When the test ends, no actor and no timer may be left. */
export async function supervise(options: Partial<SupervisorOptions> & Pick<SupervisorOptions, 'children'>) {
  const harness = actorHarness();
  const events: SupervisorEvent[] = [];
  const supervisor = await startSupervisor(harness.system, {
    name: 'pool',
    intensity: 10,
    random: () => 0,
    onEvent: (event) => events.push(event),
    ...options,
  });
  return { ...harness, supervisor, events };
}

/** Resolves once the supervisor has dealt with what came to it before. */
export async function dealtWith(supervisor: SupervisorHandle): Promise<void> {
  await supervisor.countChildren().catch(() => undefined);
  await nextTurn();
  await supervisor.countChildren().catch(() => undefined);
}

/** The state of a child, as the snapshot has it. */
export function stateOf(supervisor: SupervisorHandle, id: string): string | undefined {
  return supervisor.snapshot().children.find(({ path }) => path === `${supervisor.path}/${id}`)?.state;
}

/** A promise and its keys. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
