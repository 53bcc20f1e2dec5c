import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { configSchema } from '../../src/config/schema.ts';
import { CrashLedger } from '../../src/crashes/crash-ledger.ts';
import { Redactor } from '../../src/crashes/redact.ts';
import { Events } from '../../src/telemetry/events.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { temporaryFolder } from '../support/temp.ts';
import { call, testServer } from '../support/test-server.ts';
import { death } from './deaths.ts';

it('a server that starts again shows the crashes of the one before it', async () => {
  const dataDir = await temporaryFolder();
  const folder = join(dataDir, 'crashes');
  const before = await CrashLedger.open({
    folder,
    config: () => configSchema.parse({}),
    redactor: new Redactor(),
    versions: { duckcoop: '0.0.1', node: 'v20' },
    clock: new ManualClock(),
    events: new Events(),
  });
  const crashIds = [before.record(death()), before.record(death())];
  await before.close();

  const server = await testServer({ config: { data_dir: dataDir } });
  const footprint = await server.footprint();
  const listed = await server.get('/v1/crashes?limit=1');
  expect(listed.body).toMatchObject({ crashes: [{ crash_id: crashIds[1], cause: 'crash' }] });
  const rest = await server.get(`/v1/crashes?cursor=${listed.body.next}`);
  expect(rest.body).toMatchObject({ crashes: [{ crash_id: crashIds[0] }], next: null });
  const { body } = await server.get(`/v1/crashes/${crashIds[0]}`);
  expect(body).toMatchObject({
    statement: expect.stringContaining('select'),
    versions: { duckcoop: '0.0.1' },
  });
  expect((await server.get('/v1/crashes/unknown')).status).toBe(404);
  // Reports last; what followed from them was of that run.
  expect((await server.get('/v1/quarantine')).body).toEqual({ quarantine: [] });
  expect((await call(server.url, 'DELETE', '/v1/quarantine')).body).toEqual({ lifted: 0 });
  expect((await server.get('/metrics')).body).toMatch(/^duckcoop_quarantined 0$/m);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(readdirSync(folder)).toHaveLength(2);
  await server.expectNothingLeaked(footprint);
});
