import { type CheckedChildSpec, type ChildSpec, checkChildSpecs } from './child-spec.ts';
import { refuse, refuseUnknownKeys, requireOneOf, requirePathSegment } from './expected.ts';
import { checkIntensity } from './restart-intensity.ts';
import type { SupervisorEvent } from './supervisor-event.ts';
import type { Strategy } from './supervisor-handle.ts';

export interface SupervisorOptions {
  /** The actor's name: the last segment of the path. */
  readonly name: string;
  /** What is restarted with a child: nothing else, everything, or what started after it. Default `one_for_one`. */
  readonly strategy?: Strategy;
  /** Restarts allowed within the period; Infinity for a supervisor that never gives up. Default 1. */
  readonly intensity?: number;
  /** Default 5000. */
  readonly periodMs?: number;
  /** Started from left to right, stopped from right to left. */
  readonly children: readonly ChildSpec[];
  /** Hears of everything that happens, at once. What it throws is reported as a fault and changes nothing. */
  readonly onEvent?: (event: SupervisorEvent) => void;
  /** From 0 to 1, for the backoff's jitter. Default Math.random. */
  readonly random?: () => number;
}

/** What may change while a supervisor runs; what is not given stays as it is. */
export type SupervisorChanges = Partial<Pick<SupervisorOptions, 'strategy' | 'intensity' | 'periodMs'>> & {
  /** Other specs for children that are there already, found by their ids. */
  readonly children?: readonly ChildSpec[];
};

export type CheckedSupervisorOptions = Required<Omit<SupervisorOptions, 'children'>> & {
  readonly children: readonly CheckedChildSpec[];
};

const KEYS = ['name', 'strategy', 'intensity', 'periodMs', 'children', 'onEvent', 'random'];
const DEFAULTS = {
  strategy: 'one_for_one',
  intensity: 1,
  periodMs: 5_000,
  onEvent: () => undefined,
  random: Math.random,
} satisfies Partial<SupervisorOptions>;

/** Throws {@link InvalidOptionError} for the first option that is not what it has to be. */
export function checkSupervisorOptions(options: SupervisorOptions): CheckedSupervisorOptions {
  if (typeof options !== 'object' || options === null) refuse('supervisor', 'options', 'an object', options);
  requirePathSegment('supervisor', 'name', options.name);
  const owner = `supervisor "${options.name}"`;
  refuseUnknownKeys(owner, options, KEYS);
  const checked = { ...DEFAULTS, ...options, children: checkChildSpecs(owner, options.children) };
  requireOneOf(owner, 'strategy', checked.strategy, ['one_for_one', 'one_for_all', 'rest_for_one']);
  checkIntensity(owner, checked);
  for (const option of ['onEvent', 'random'] as const) {
    if (typeof checked[option] !== 'function') refuse(owner, option, 'a function', checked[option]);
  }
  return checked;
}

/** What {@link checkSupervisorOptions} checks, for the options that change. */
export function checkSupervisorChanges(
  options: CheckedSupervisorOptions,
  { children, ...changes }: SupervisorChanges,
): { readonly options: CheckedSupervisorOptions; readonly children: readonly CheckedChildSpec[] } {
  const checked = checkSupervisorOptions({ ...options, ...changes, children: children ?? [] });
  return { options: { ...checked, children: options.children }, children: checked.children };
}
