/**
 * Each fault at each moment, through real servers: docs/fault-matrix.md is what this run sees, and a cell that says something
 * else fails. `DUCKCOOP_WRITE_MATRIX=1` writes the document anew.
 *
 * What holds for all of them: nobody but the query at that moment is told of anything, `/healthz` is answered all the while, the
 * worker has its next incarnation, the next query succeeds, nothing undeclared happens inside, and nothing is left over.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Fault } from '../../src/workers/protocol.ts';
import { ROOT } from '../support/cli.ts';
import { type HealthWatch, watchHealth } from '../support/health-watch.ts';
import type { Footprint } from '../support/leak-check.ts';
import { makeFolder } from '../support/temp.ts';
import { startTestServer, type TestServer, until } from '../support/test-server.ts';
import { FAULTS, laneOf, MOMENTS, type Moment, matrixPools, play, VARIANTS, type Variant } from './matrix.ts';
import { documentOf, type Outcomes, outcomesIn } from './matrix-document.ts';

const DOCUMENT = join(ROOT, 'docs/fault-matrix.md');
const WRITE = process.env.DUCKCOOP_WRITE_MATRIX === '1';
const ALL = WRITE || process.env.DUCKCOOP_MATRIX === 'all';
/** Strikes at the same time: more would be starved of the processor, and taken for dead. */
const AT_ONCE = 6;
const PATIENCE_MS = 240_000;

interface Stage {
  readonly variant: Variant;
  readonly server: TestServer;
  readonly before: Footprint;
  readonly health: HealthWatch;
  readonly outcomes: Map<string, Promise<string>>;
}

const stages: Stage[] = [];
let folder: Awaited<ReturnType<typeof makeFolder>>;
const committed: Outcomes = WRITE ? new Map() : outcomesIn(readFileSync(DOCUMENT, 'utf8'));

beforeAll(async () => {
  folder = await makeFolder();
  writeFileSync(join(folder.path, 'ducks.csv'), 'name\nmallard\n');
  const servers: TestServer[] = [];
  for (const { reserve, retries } of VARIANTS) {
    const server = await startTestServer({
      pools: matrixPools(reserve),
      sources: { landing: { kind: 'files', path: folder.path } },
      config: { retry: { max: retries } },
    });
    servers.push(server);
    const isAtRest = () =>
      server.workers().every(({ status }) => ['idle', 'reserve'].includes(status().state)) &&
      server.workers().length === Object.keys(matrixPools(reserve)).length * (1 + reserve);
    await until('all are at rest', isAtRest);
  }
  const before = await Promise.all(servers.map((server) => server.footprint()));
  for (const [index, variant] of VARIANTS.entries()) {
    const server = servers[index] as TestServer;
    stages.push({
      ...{ variant, server, before: before[index] as Footprint },
      ...{ health: watchHealth(server.url), outcomes: new Map<string, Promise<string>>() },
    });
  }
  const limit = limiter(AT_ONCE);
  for (const stage of stages) begin(stage, limit);
});

afterAll(async () => {
  await Promise.allSettled(stages.flatMap(({ outcomes }) => [...outcomes.values()]));
  const slowest = await Promise.all(stages.map(({ health }) => health.stop()));
  expect(Math.max(...slowest), 'milliseconds of the slowest reply of /healthz').toBeLessThan(10_000);
  for (const { server, before } of stages) {
    expect(server.events('fault')).toEqual([]);
    await server.expectNothingLeaked(before);
  }
  for (const { server } of stages.toReversed()) await server.stop();
  await folder.remove();
}, PATIENCE_MS);

describe.each(VARIANTS)('$title:', ({ title }) => {
  describe.each(FAULTS)('%s', (fault) => {
    it.each(MOMENTS.filter((moment) => isPlayed(title, fault, moment)))(
      'at the moment %s says what the document says',
      async (moment) => {
        const stage = stages.find(({ variant }) => variant.title === title);
        const outcome = await stage?.outcomes.get(key(fault, moment));
        if (!WRITE) expect(outcome).toBe(committed.get(title)?.get(key(fault, moment)));
      },
      PATIENCE_MS,
    );
  });
});

it.runIf(WRITE)(
  'the document is written',
  async () => {
    const seen = new Map<string, Map<string, string>>();
    for (const { variant, outcomes } of stages) {
      const said = [...outcomes].map(async ([cell, outcome]) => [cell, await outcome] as const);
      seen.set(variant.title, new Map(await Promise.all(said)));
    }
    writeFileSync(DOCUMENT, documentOf(seen));
  },
  PATIENCE_MS,
);

it.skipIf(WRITE)('the document holds these cells, in its own words, and nothing else', () => {
  expect(readFileSync(DOCUMENT, 'utf8')).toBe(documentOf(committed));
});

/** Each pool plays the cells of its lane, one after the other. */
function begin({ variant, server, outcomes }: Stage, limit: Limiter): void {
  const cells = FAULTS.flatMap((fault) =>
    MOMENTS.filter((moment) => isPlayed(variant.title, fault, moment)).map((moment) => ({ fault, moment })),
  );
  const settle = new Map<string, PromiseWithResolvers>();
  for (const { fault, moment } of cells) {
    const settler = withResolvers();
    settler.promise.catch(() => undefined);
    settle.set(key(fault, moment), settler);
    outcomes.set(key(fault, moment), settler.promise);
  }
  for (const pool of Object.keys(matrixPools(0))) {
    const playLane = async () => {
      for (;;) {
        const index = cells.findIndex(({ fault, moment }) => pool.startsWith(laneOf(fault, moment)));
        const [cell] = index === -1 ? [] : cells.splice(index, 1);
        if (cell === undefined) return;
        const { fault, moment } = cell;
        const settler = settle.get(key(fault, moment));
        await limit(() => play({ server, variant, pool, fault, moment })).then(
          settler?.resolve,
          settler?.reject,
        );
      }
    };
    void playLane();
  }
}

/**
 * All of them by hand. In every run of the tests each fault at each moment on one of the two servers, and the other half of
 * them on the other, like the fields of a chessboard: a worker's start is most of what a cell costs.
 */
function isPlayed(title: string, fault: Fault, moment: Moment): boolean {
  if (ALL) return true;
  const variant = VARIANTS.findIndex((one) => one.title === title);
  return (FAULTS.indexOf(fault) + MOMENTS.indexOf(moment) + variant) % 2 === 0;
}

function key(fault: Fault, moment: Moment): string {
  return `${fault} ${moment}`;
}

type Limiter = <Value>(work: () => Promise<Value>) => Promise<Value>;

function limiter(most: number): Limiter {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}

interface PromiseWithResolvers {
  readonly promise: Promise<string>;
  readonly resolve: (value: string) => void;
  readonly reject: (error: unknown) => void;
}

function withResolvers(): PromiseWithResolvers {
  let resolve: PromiseWithResolvers['resolve'] = () => undefined;
  let reject: PromiseWithResolvers['reject'] = () => undefined;
  const promise = new Promise<string>((resolved, rejected) => {
    resolve = resolved;
    reject = rejected;
  });
  return { promise, resolve, reject };
}
