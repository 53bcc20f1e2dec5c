/**
 * Ctrl-C and SIGTERM as an AbortSignal: the first asks the command to clean up and end, the second ends it.
 */

export interface Interrupt {
  readonly signal: AbortSignal;
  /** Gives the signals back to their default; call it once there is nothing left to clean up. */
  release(): void;
}

export function interrupt(): Interrupt {
  const controller = new AbortController();
  const release = () => {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  };
  const onSignal = () => {
    release();
    controller.abort(new Error('interrupted'));
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return { signal: controller.signal, release };
}
