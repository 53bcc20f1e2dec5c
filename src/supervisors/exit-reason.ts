/**
 * Why a child, or a supervisor, ended. A reason is passed on verbatim, from the child to everyone who asks.
 *
 * | OTP               | here                                   | meaning                                         |
 * | ----------------- | -------------------------------------- | ----------------------------------------------- |
 * | `normal`          | `{ kind: 'normal' }`                   | its work was done                               |
 * | `shutdown`        | `{ kind: 'shutdown' }`                 | it was asked to end, and did                    |
 * | `{shutdown,Term}` | `{ kind: 'shutdown', detail: term }`   | it ended itself, in order, for the reason given |
 * | `killed`          | `{ kind: 'killed' }`                   | it was ended at once, by somebody               |
 * | any other term    | `{ kind: 'error', error: term }`       | it failed                                       |
 */
export type ExitReason =
  | { readonly kind: 'normal' }
  | { readonly kind: 'shutdown'; readonly detail?: unknown }
  | { readonly kind: 'killed' }
  | { readonly kind: 'error'; readonly error: unknown };

export const NORMAL: ExitReason = { kind: 'normal' };
export const SHUTDOWN: ExitReason = { kind: 'shutdown' };
export const KILLED: ExitReason = { kind: 'killed' };

/** True for the reasons after which a transient child is not restarted (OTP: normal, shutdown, {shutdown,Term}). */
export function isOrderly(reason: ExitReason): boolean {
  return reason.kind === 'normal' || reason.kind === 'shutdown';
}
