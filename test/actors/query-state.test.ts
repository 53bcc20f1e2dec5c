import { expect, it } from 'vitest';
import { isFinal, mayBecome, publicState, type QueryState } from '../../src/actors/query-state.ts';

const STATES: readonly QueryState[] = [
  'received',
  'admitted',
  'queued',
  'dispatched',
  'running',
  'streaming',
  'succeeded',
  'failed',
  'cancelled',
];

it('a query that has ended becomes nothing else', () => {
  for (const state of STATES.filter(isFinal)) {
    expect(STATES.filter((next) => mayBecome(state, next))).toEqual([]);
  }
  expect(STATES.filter(isFinal)).toEqual(['succeeded', 'failed', 'cancelled']);
});

it('a query can fail at every moment before its end', () => {
  for (const state of STATES.filter((state) => !isFinal(state)))
    expect(mayBecome(state, 'failed')).toBe(true);
});

it('a query goes back to the queue until it has ended; whether any of it has reached the client its sink says', () => {
  const mayGoBack = STATES.filter((state) => mayBecome(state, 'queued'));
  expect(mayGoBack).toEqual(['admitted', 'dispatched', 'running', 'streaming']);
});

it('a client sees queued until its query is first in line with a worker', () => {
  expect(STATES.map(publicState)).toEqual([
    'queued',
    'queued',
    'queued',
    'queued',
    'running',
    'running',
    'succeeded',
    'failed',
    'cancelled',
  ]);
});
