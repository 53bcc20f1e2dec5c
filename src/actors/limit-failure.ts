/** What the client hears whose query took its worker past a limit. */
import { Failure } from '../failures.ts';
import type { Exceeded } from '../workers/limits.ts';

/** `MEMORY_LIMIT` or `DISK_LIMIT`, with the figures in bytes. */
export function limitFailure({ what, limit, used }: Exceeded): Failure {
  const members = { limit, used };
  const [code, took, whole] =
    what === 'memory'
      ? (['MEMORY_LIMIT', 'more memory than its worker may have', 'the whole process'] as const)
      : (['DISK_LIMIT', 'more disk than its worker may have', 'all that it spills'] as const);
  const detail = `The query took ${took}, and was ended with it: it held ${used} bytes when it was last looked at, and ${limit} are the limit of ${whole}. Make it hold less at once, or ask an operator for a larger pool.`;
  return new Failure(code, detail, { members });
}
