/** The states of a machine, each with those it may be followed by. */
export type Transitions<State extends string> = { readonly [From in State]: readonly State[] };

/** Throws unless the transition is declared: a machine that takes another one is not the machine that was drawn. */
export function requireTransition<State extends string>(
  machine: string,
  transitions: Transitions<State>,
  from: State,
  to: State,
): void {
  if (!transitions[from].includes(to)) throw new Error(`${machine}: no transition from ${from} to ${to}`);
}
