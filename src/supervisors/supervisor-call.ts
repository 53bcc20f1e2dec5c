import type { CheckedChildSpec } from './child-spec.ts';
import type { Children } from './children.ts';
import type { SupervisedChild } from './supervised-child.ts';
import { type ChildCallCode, ChildCallError, ChildStartError } from './supervisor-errors.ts';
import type { ChildCounts, ChildInfo, StartedChild } from './supervisor-handle.ts';
import type { SupervisorChanges } from './supervisor-options.ts';

/** The answer to a call: its value, or the error it rejects with. */
export type Outcome<Value> = { readonly value: Value } | { readonly error: Error };

interface CallOf<Name extends string, Value> {
  readonly call: Name;
  readonly reply: (outcome: Outcome<Value>) => void;
}

/** What a supervisor can be asked for (OTP, `supervisor(3)`, Exports). */
export type Call =
  | (CallOf<'start_child', StartedChild | undefined> & { readonly spec: CheckedChildSpec })
  | (CallOf<'restart_child', StartedChild | undefined> & { readonly id: string })
  | (CallOf<'terminate_child', undefined> & { readonly id: string })
  | (CallOf<'delete_child', undefined> & { readonly id: string })
  | (CallOf<'reconfigure', undefined> & { readonly changes: SupervisorChanges })
  | CallOf<'which_children', readonly ChildInfo[]>
  | CallOf<'count_children', ChildCounts>;

/** What becomes of the supervisor's own options. */
export type Reconfigure = (changes: SupervisorChanges) => Outcome<undefined>;

/** Does what is asked and answers. Rejects with faults only: a refusal is an answer. */
export async function performCall(children: Children, call: Call, reconfigure: Reconfigure): Promise<void> {
  switch (call.call) {
    case 'start_child':
      return call.reply(await startChild(children, call.spec));
    case 'restart_child':
      return call.reply(await restartChild(children, call.id));
    case 'terminate_child':
      return call.reply(await terminateChild(children, call.id));
    case 'delete_child':
      return call.reply(await deleteChild(children, call.id));
    case 'reconfigure':
      return call.reply(reconfigure(call.changes));
    case 'which_children':
      return call.reply({ value: children.list.toReversed().map(info) });
    case 'count_children':
      return call.reply({ value: count(children.list) });
  }
}

async function startChild(
  children: Children,
  spec: CheckedChildSpec,
): Promise<Outcome<StartedChild | undefined>> {
  const present = children.find(spec.id);
  if (present?.started !== undefined) return refusal(children, spec.id, 'already_started', present.started);
  if (present !== undefined) return refusal(children, spec.id, 'already_present');
  const child = children.add(spec);
  const failed = await children.startAll([child]);
  if (failed === undefined) return { value: child.started };
  children.remove(child);
  return { error: new ChildStartError(children.path, spec.id, failed.reason) };
}

async function restartChild(children: Children, id: string): Promise<Outcome<StartedChild | undefined>> {
  const child = children.find(id);
  if (child === undefined) return refusal(children, id, 'not_found');
  if (child.state.kind === 'restarting') return refusal(children, id, 'restarting');
  if (child.state.kind !== 'stopped') return refusal(children, id, 'running');
  const failed = await children.start(child);
  if (failed === undefined) return { value: child.started };
  return { error: new ChildStartError(children.path, id, failed.reason) };
}

async function terminateChild(children: Children, id: string): Promise<Outcome<undefined>> {
  const child = children.find(id);
  if (child === undefined) return refusal(children, id, 'not_found');
  await children.endAll([child]);
  return { value: undefined };
}

/** OTP refuses to delete any child that is being restarted; one that waits out a backoff, which OTP has not, may go. */
async function deleteChild(children: Children, id: string): Promise<Outcome<undefined>> {
  const child = children.find(id);
  if (child === undefined) return refusal(children, id, 'not_found');
  const waits = child.state.kind === 'restarting' && child.state.delay !== undefined;
  if (child.state.kind === 'restarting' && !waits) return refusal(children, id, 'restarting');
  if (child.state.kind !== 'stopped' && !waits) return refusal(children, id, 'running');
  await children.end(child);
  children.remove(child);
  return { value: undefined };
}

function refusal(
  children: Children,
  id: string,
  code: ChildCallCode,
  started?: StartedChild,
): { readonly error: Error } {
  return { error: new ChildCallError(children.path, id, code, started) };
}

function info(child: SupervisedChild): ChildInfo {
  const { id, type } = child.spec;
  return { id, type, child: child.state.kind === 'restarting' ? 'restarting' : child.started };
}

function count(children: readonly SupervisedChild[]): ChildCounts {
  const supervisors = children.filter((child) => child.spec.type === 'supervisor').length;
  return {
    specs: children.length,
    active: children.filter((child) => child.incarnation?.isAlive).length,
    supervisors,
    workers: children.length - supervisors,
  };
}
