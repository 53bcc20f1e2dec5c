/** Ten thousand sources in one configuration: it is served as one with three is, and reloaded while it serves. */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { stringify } from 'yaml';
import { manySources } from '../config/many-sources.ts';
import { watchHealth } from '../support/health-watch.ts';
import { temporaryFolder } from '../support/temp.ts';
import { QUICKSTART, Served, writeConfiguration } from './server.ts';

const COUNT = 10_000;

it('is listed, queried, and reloaded under queries of which none fails or waits', async () => {
  const folder = await temporaryFolder();
  const ducks = join(folder, 'ducks');
  mkdirSync(ducks);
  writeFileSync(join(ducks, 'names.csv'), 'name\nmallard\n');
  copyFileSync(join(dirname(QUICKSTART), 'data/shop.db'), join(folder, 'shop.db'));
  const sources = manySources(COUNT);
  const pools = { interactive: { size: 1, reserve: 0 } };
  const write = (more: object) =>
    writeConfiguration(
      folder,
      stringify({
        pools,
        sources: { ...sources, source_5002: { kind: 'sqlite', path: './shop.db' }, ...more },
      }),
    );
  const served = await Served.start(await write({}));
  try {
    const listed = (await served.get('/v1/sources')).json<{ sources: { alias: string; kind: string }[] }>();
    expect(listed.sources).toHaveLength(COUNT);
    expect(listed.sources[5_002]).toEqual({ alias: 'source_5002', kind: 'sqlite' });
    const customers = await served.query('SELECT count(*) > 0 FROM source_5002.main.customers', {
      sources: ['source_5002'],
    });
    expect(customers.json()).toMatchObject({ data: [[true]] });

    const unknown = await served.query('SELECT 1', { sources: ['source_10000'] });
    expect(unknown.json()).toMatchObject({ status: 400, code: 'INVALID_REQUEST' });
    expect(unknown.text).toMatch(/there is source_0, .* and 9,980 more/);
    expect(unknown.text.length).toBeLessThan(2_000);
    const notNamed = await served.query('SELECT * FROM source_7.main.t');
    expect(notNamed.json()).toMatchObject({
      code: 'SQL_ERROR',
      detail: expect.stringContaining('source_7 is a'),
    });

    const health = watchHealth(served.url);
    let reloaded = false;
    const statuses: number[] = [];
    const client = async () => {
      while (!reloaded) statuses.push((await served.query('SELECT 42')).status);
    };
    const clients = [client(), client()];
    await write({ source_9006: { kind: 'files', path: './ducks' } });
    const begun = performance.now();
    const reply = await served.post('/v1/config/reload');
    const took = performance.now() - begun;
    reloaded = true;
    await Promise.all(clients);
    expect(reply.json()).toMatchObject({
      version: 2,
      changes: [{ path: 'sources.source_9006.path', effect: 'new_version' }],
    });
    expect(statuses.length).toBeGreaterThan(10);
    expect(new Set(statuses)).toEqual(new Set([200]));
    // Were it loaded where requests are answered, most of that time would be one silence.
    expect(await health.stop()).toBeLessThan(took / 2);
    const names = await served.query('SELECT * FROM source_9006.names', { sources: ['source_9006'] });
    expect(names.json()).toMatchObject({ data: [['mallard']] });
  } finally {
    await served.stop();
  }
}, 120_000);
