/** What tells one statement from another, whatever its literals: the key of the quarantine. */
import { createHash } from 'node:crypto';
import { isInlineName } from '../actors/source-names.ts';
import { NORMALISED_CHARACTERS, normalise } from './normalise.ts';

const HEX_DIGITS = 16;

/**
 * 16 hexadecimal digits of the SHA-256 of the normalised statement and the names of its sources, in any order; and of `principal`, whose
 * statement it is, where one of these came with the request: what one's own server does to a worker says nothing of another's.
 *
 * The time is bounded: what lies behind the first {@link NORMALISED_CHARACTERS} characters is hashed as it is, so there even
 * another literal makes another fingerprint.
 */
export function fingerprint(sql: string, sources: readonly string[], principal = ''): string {
  const hash = createHash('sha256').update(normalise(sql));
  hash.update(`\0${JSON.stringify(sources.toSorted())}\0`);
  if (sources.some(isInlineName)) hash.update(`${principal}\0`);
  hash.update(sql.slice(NORMALISED_CHARACTERS));
  return hash.digest('hex').slice(0, HEX_DIGITS);
}
