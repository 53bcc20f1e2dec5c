import { expect, onTestFinished, test } from 'vitest';
import { serverFrom } from '../../src/cli/client.ts';
import { progressLine, showProgress } from '../../src/cli/progress.ts';
import { quickPool, testServer, until } from '../support/test-server.ts';

test.each([
  [undefined, 'running for 3 s; Ctrl-C cancels'],
  [{ type: 'queued', members: { position: 2 } }, 'waiting for 3 s, in place 2; Ctrl-C cancels'],
  [{ type: 'retrying', members: {} }, 'its worker died; it is tried again, after 3 s; Ctrl-C cancels'],
  [
    { type: 'progress', members: { percentage: 45.9, rows: 1, bytes: 0, memory_bytes: 100_000_000 } },
    '[=========           ]  45% running for 3 s, 100 MB of memory; Ctrl-C cancels',
  ],
  [
    { type: 'progress', members: { percentage: null, bytes: 2_000_000, memory_bytes: 'many' } },
    'running for 3 s, 2 MB written; Ctrl-C cancels',
  ],
])('the line of %o', (news, line) => {
  expect(progressLine(3_000, news)).toBe(line);
});

test('a terminal shows how far a query of a real server is, and nothing once it has ended', async () => {
  const server = await testServer({ pools: { interactive: quickPool({ cancel_grace: '5s' }) } });
  const before = await server.footprint();
  let written = '';
  const write = (text: string) => {
    written += text;
  };
  const terminal = { isTTY: true, columns: 100, write };
  const sql = 'SELECT count(*) FROM range(100000000000) t(x) WHERE hash(x) = 1';
  const reply = server.query(sql, { query_id: 'q' });
  await until('it runs', async () => (await server.get('/v1/queries/q')).body.state === 'running');
  const done = showProgress(terminal as never, serverFrom({ url: server.url }), 'q');
  onTestFinished(done);
  await until('there is progress', () => /running for .* of memory; Ctrl-C cancels$/.test(written));
  await server.cancel('q');
  await reply;
  done();
  expect(written.endsWith('\r\x1b[K')).toBe(true);
  const length = written.length;
  await server.expectNothingLeaked(before);
  expect(written).toHaveLength(length);
});

test('nothing is written where there is no terminal', () => {
  const write = () => {
    throw new Error('written');
  };
  showProgress({ isTTY: false, write } as never, serverFrom({}), 'q')();
});
