import { expect, it } from 'vitest';
import { SourceCircuits, type SourceVerdict, verdictOf } from '../../src/actors/source-circuit.ts';
import { Failure } from '../../src/failures.ts';

const IN_VAIN: SourceVerdict = { answered: false, source: 'db' };
const ANSWERED: SourceVerdict = { answered: true };

function scene() {
  let now = 0;
  let configured: unknown = 'as it was';
  const told: string[] = [];
  const circuits = new SourceCircuits({
    now: () => now,
    configured: () => configured,
    onSilent: (alias, ms) => told.push(`${alias} silent for ${ms}`),
    onAnswer: (alias) => told.push(`${alias} answers`),
  });
  const run = (queryId: string, verdict: SourceVerdict, aliases = ['db']) => {
    const refusal = circuits.begin(queryId, aliases);
    circuits.ended(queryId, aliases, refusal === undefined ? verdict : undefined);
    return refusal?.members;
  };
  return {
    circuits,
    told,
    run,
    later: (ms: number) => {
      now += ms;
    },
    configure: (to: unknown) => {
      configured = to;
    },
  };
}

const REFUSED = { source: 'db', reason: 'no_answer' };

it('a source that let a query wait in vain is asked again by one query after a while, then by all', () => {
  const { run, later, circuits, told } = scene();
  expect(run('a', IN_VAIN)).toBeUndefined();
  expect(run('b', ANSWERED)).toEqual(REFUSED);
  expect(run('elsewhere', ANSWERED, ['other'])).toBeUndefined();
  later(1_000);
  expect(circuits.begin('c', ['db'])).toBeUndefined();
  // Its worker took it and died: it begins once more.
  expect(circuits.begin('c', ['db'])).toBeUndefined();
  expect(run('d', ANSWERED)).toEqual(REFUSED);
  circuits.ended('c', ['db'], ANSWERED);
  expect(run('e', ANSWERED)).toBeUndefined();
  expect(told).toEqual(['db silent for 1000', 'db answers']);
});

it('each trial in vain doubles the time, up to half a minute', () => {
  const { run, later, told } = scene();
  for (let trial = 0; trial < 8; trial += 1) {
    expect(run(`trial ${trial}`, IN_VAIN)).toBeUndefined();
    later(30_000);
  }
  expect(told.map((line) => Number(line.split(' ').at(-1)))).toEqual([
    ...[1_000, 2_000, 4_000, 8_000, 16_000],
    ...[30_000, 30_000, 30_000],
  ]);
});

it('queries that were under way when it opened make it no worse', () => {
  const { circuits, told } = scene();
  for (const id of ['a', 'b', 'c']) circuits.begin(id, ['db']);
  for (const id of ['a', 'b', 'c']) circuits.ended(id, ['db'], IN_VAIN);
  expect(told).toEqual(['db silent for 1000']);
});

it('a trial of which nothing can be told leaves the next query to try', () => {
  const { circuits, run, later } = scene();
  run('a', IN_VAIN);
  later(1_000);
  circuits.begin('b', ['db']);
  circuits.ended('b', ['db'], undefined);
  expect(run('c', ANSWERED)).toBeUndefined();
});

it('a source that is configured otherwise begins anew', () => {
  const { run, configure } = scene();
  run('a', IN_VAIN);
  expect(run('b', ANSWERED)).toEqual(REFUSED);
  configure('otherwise');
  expect(run('c', ANSWERED)).toBeUndefined();
});

it('only silence, and only a result, tell of a source', () => {
  const silent = new Failure('SOURCE_UNAVAILABLE', '', { members: { source: 'db', reason: 'no_answer' } });
  expect(verdictOf(silent, ['db'])).toEqual(IN_VAIN);
  expect(verdictOf(undefined, ['db'])).toEqual(ANSWERED);
  for (const code of ['SOURCE_UNAVAILABLE', 'SQL_ERROR', 'QUERY_TIMEOUT', 'WORKER_CRASHED'] as const)
    expect(verdictOf(new Failure(code, '', { members: { source: 'db' } }), ['db'])).toBeUndefined();
  // Nor of a configured one that was not alone with configured ones.
  expect(verdictOf(silent, ['db', 'inline:own'])).toBeUndefined();
});
