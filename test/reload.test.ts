import { expect, it } from 'vitest';
import { LiveConfig } from '../src/config/live-config.ts';
import { loadConfig } from '../src/config/load.ts';
import { Reloader } from '../src/reload.ts';
import { Events } from '../src/telemetry/events.ts';

it('what could not be put in force is tried again by the next reload, although the file is the same', async () => {
  const loaded = loadConfig({});
  if (!loaded.ok) throw new Error('the defaults are refused');
  const { config } = loaded;
  const changed = { ...config, telemetry: { ...config.telemetry, slow_query: 1 } };
  const live = new LiveConfig(config);
  let applied = 0;
  const reloader = new Reloader({
    live,
    load: async () => ({ ...loaded, config: changed }),
    apply: async () => {
      applied += 1;
      if (applied === 1) throw new Error('not now');
    },
    isStopping: () => false,
    events: new Events(),
  });
  await expect(reloader.reload('request')).rejects.toThrow('not now');
  await expect(reloader.reload('request')).resolves.toMatchObject({ ok: true });
  expect(applied).toBe(2);
  await reloader.reload('request');
  expect(applied).toBe(2);
});
