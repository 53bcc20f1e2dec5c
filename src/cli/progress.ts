/** A line on a terminal that says how long a query has been running; nothing anywhere else. */
import type { WriteStream } from 'node:tty';

const APPEARS_AFTER = 1_000;
const ERASE_LINE = '\r\x1b[K';

/** Returns what ends it, which leaves the line empty. */
export function showProgress(terminal: WriteStream): () => void {
  if (!terminal.isTTY) return () => {};
  const start = performance.now();
  const timer = setInterval(() => {
    const seconds = Math.round((performance.now() - start) / 1000);
    terminal.write(`${ERASE_LINE}running for ${seconds} s; Ctrl-C cancels`);
  }, APPEARS_AFTER);
  return () => {
    clearInterval(timer);
    if (performance.now() - start >= APPEARS_AFTER) terminal.write(ERASE_LINE);
  };
}
