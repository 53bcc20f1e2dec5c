/** Whether a header came more than once. Of two that may not be repeated node keeps the first, and says nothing. */
import type { IncomingMessage } from 'node:http';

/** `name` in lower case. */
export function isRepeated({ rawHeaders }: IncomingMessage, name: string): boolean {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const raw = rawHeaders[index];
    if (raw !== undefined && raw.length === name.length && raw.toLowerCase() === name) count += 1;
  }
  return count > 1;
}
