import { type RestartHistory, type RestartIntensity, withinPeriod } from './restart-intensity.ts';
import type { SupervisedChild } from './supervised-child.ts';
import type { Strategy, SupervisionNode } from './supervisor-handle.ts';

export interface SupervisorState {
  readonly path: string;
  readonly state: 'starting' | 'running' | 'stopping' | 'stopped';
  readonly strategy: Strategy;
  readonly limit: RestartIntensity;
  readonly history: RestartHistory;
  readonly children: readonly SupervisedChild[];
  readonly now: number;
}

/** The node of a supervisor that knows of no parent. */
export function supervisorNode(supervisor: SupervisorState): SupervisionNode {
  const { path, state, strategy, limit, history, children, now } = supervisor;
  return {
    path,
    kind: 'supervisor',
    state,
    strategy,
    restart: null,
    incarnation: 1,
    restarts: withinPeriod(limit, history, now).length,
    intensity: Number.isFinite(limit.intensity) ? limit.intensity : null,
    period_ms: limit.periodMs,
    backoff: null,
    children: children.map((child) => childNode(child, now)),
  };
}

/** What its supervisor knows of a child; of one that is a supervisor and runs, what it says itself. */
function childNode(child: SupervisedChild, now: number): SupervisionNode {
  const { path, spec, state } = child;
  const ofParent = {
    restart: spec.restart,
    incarnation: child.incarnations,
    backoff: spec.backoff === undefined ? null : { attempt: child.attempts(now), delay_ms: delayMs(child) },
  };
  const nested = child.started?.child.supervisor;
  if (nested !== undefined) return { ...nested.snapshot(), ...ofParent };
  return {
    path,
    kind: spec.type,
    state: state.kind,
    strategy: null,
    ...ofParent,
    restarts: child.restarts,
    intensity: null,
    period_ms: null,
    children: [],
  };
}

function delayMs({ state }: SupervisedChild): number {
  return state.kind === 'restarting' ? (state.delay?.ms ?? 0) : 0;
}
