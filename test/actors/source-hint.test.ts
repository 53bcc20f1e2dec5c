import { expect, it } from 'vitest';
import type { QueryRequest } from '../../src/actors/query.ts';
import { withSourceHint } from '../../src/actors/source-hint.ts';
import { Failure } from '../../src/failures.ts';
import { ANONYMOUS } from '../../src/principal.ts';
import { reader } from '../support/principals.ts';

const UNKNOWN = new Failure('SQL_ERROR', 'Catalog "pg1" does not exist!');

function hinted(principal = ANONYMOUS, sources: string[] = []): string {
  return withSourceHint(UNKNOWN, { principal, sources } as unknown as QueryRequest, ['my1', 'pg1']).message;
}

it('a name that is a configured source is said to be one, where the request does not attach it', () => {
  expect(hinted()).toContain('pg1 is a configured source');
  expect(hinted(reader('p', { sources: new Set(['pg1']) }))).toContain('pg1 is a configured source');
  expect(hinted(ANONYMOUS, ['pg1'])).toBe(UNKNOWN.message);
});

it('a source that the principal may not use is not told of', () => {
  expect(hinted(reader('p', { sources: new Set(['my1']) }))).toBe(UNKNOWN.message);
});
