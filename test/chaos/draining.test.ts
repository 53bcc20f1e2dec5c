/** A worker that dies while the server drains does not keep it from its end. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readFlightRecord } from '../../src/workers/flight-recorder.ts';
import { DEADLY_FAULTS } from '../../src/workers/protocol.ts';
import { quickPool, testServer, until } from '../support/test-server.ts';
import { DEATHS, ENDLESS } from './deaths.ts';

it.each(DEADLY_FAULTS)(
  '%s while the server drains: the query hears of it, and nothing is left',
  async (fault) => {
    const server = await testServer({
      pools: { draining: quickPool({ memory_hard_limit: '600MB' }) },
      // To take all of its memory takes a worker some seconds on a busy machine.
      config: { server: { port: 0, drain_timeout: '30s' } },
    });
    const victim = server.query(ENDLESS);
    await until('the worker is at work', () => {
      const [run = ''] = readdirSync(join(server.dataDir, 'run'));
      return readFlightRecord(join(server.dataDir, 'run', run, 'draining-1-1')).phase === 'running';
    });
    const stopped = server.stop();
    server.fault('draining', fault);
    const { status, body } = await victim;
    const { code } = DEATHS[fault];
    expect({ status, code: body.code }).toEqual({ status: code === 'MEMORY_LIMIT' ? 422 : 502, code });
    await stopped;
    const exit = server.events('worker.exited').find(({ query_id }) => query_id === body.query_id);
    expect(exit).toMatchObject({ worker: 'draining-1', incarnation: 1, phase: 'running' });
    expect(server.events('fault')).toEqual([]);
  },
);
