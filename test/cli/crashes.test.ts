import { describe, expect, it } from 'vitest';
import { crashReport } from '../../src/crashes/crash-report.ts';
import { Redactor } from '../../src/crashes/redact.ts';
import { death } from '../crashes/deaths.ts';
import { duckcoop } from '../support/cli.ts';
import { freePort } from '../support/throwaway.ts';
import { json, problem, queryServer } from './query-server.ts';

const ID = '20240131T120000123Z-3f9a2c1b';
const REPORT = crashReport(
  death({ lastLines: ['bad \u001b[2J line'], detail: 'two\nlines' }, { params: [1] }),
  {
    crashId: ID,
    at: Date.UTC(2024, 0, 31, 12),
    fingerprint: '0011223344556677',
    includeSql: false,
    redactor: new Redactor(),
    versions: { duckcoop: '0.1.0', node: 'v20' },
  },
);

describe('duckcoop crashes', () => {
  it('prints a table, and says when there are more', async () => {
    const { url, received } = await queryServer({ GET: json({ crashes: [REPORT], next: 'more' }) });
    const { code, stdout, stderr } = await duckcoop(['crashes', '--limit', '1', '--url', url]);
    const cells = (line = '') => line.split('│').map((cell) => cell.trim());
    const [header, , row] = stdout.split('\n');
    expect(Object.fromEntries(cells(header).map((name, index) => [name, cells(row)[index]]))).toEqual({
      crash_id: ID,
      at: '2024-01-31T12:00:00.000Z',
      worker: 'interactive-1',
      how: 'crash (SIGSEGV)',
      phase: 'running',
      principal: 'ann',
      query_id: 'q1',
      fingerprint: '0011223344556677',
    });
    expect([code, stderr]).toEqual([0, 'There are more: --limit takes up to 1000\n']);
    expect(received[0]?.path).toBe('/v1/crashes?limit=1');
  });

  it('says so when no worker has died', async () => {
    const { url } = await queryServer({ GET: json({ crashes: [], next: null }) });
    const { code, stdout } = await duckcoop(['crashes', '--url', url]);
    expect([code, stdout]).toEqual([0, 'No worker has died.\n']);
  });

  it('prints one crash for people, and never lets it move the cursor', async () => {
    const { url, received } = await queryServer({ GET: json(REPORT) });
    const { code, stdout } = await duckcoop(['crashes', ID, '--url', url]);
    expect(stdout.split('\n')).toEqual([
      `crash        ${ID}`,
      'at           2024-01-31T12:00:00.000Z',
      'worker       interactive-1 (pool interactive, incarnation 3, pid 4242)',
      'died of      crash (SIGSEGV)',
      'detail       two\\nlines',
      'phase        running',
      'lived        1235 ms',
      'memory       1000 bytes, 2000 at most',
      'query        q1',
      'attempts     1',
      'principal    ann',
      'sources      pg1',
      'fingerprint  0011223344556677',
      'statement    select * from pg1.t where a = ? and b in (?)',
      'parameters   ["number"]',
      'limits       memory_limit 1000000000, memory_hard_limit 2000000000, temp_limit 4000000000, threads 2, timeout_ms 60000',
      'versions     duckcoop 0.1.0, node v20, duckdb v1.5.5',
      'last lines',
      '  bad \\x1b[2J line',
      '',
    ]);
    expect([code, received[0]?.path]).toEqual([0, `/v1/crashes/${ID}`]);
  });

  it('prints what the server said, as JSON', async () => {
    const { url } = await queryServer({ GET: json(REPORT) });
    const { stdout } = await duckcoop(['crashes', ID, '--format', 'json', '--url', url]);
    expect(JSON.parse(stdout)).toEqual(REPORT);
  });

  it('ends with the exit code of what went wrong', async () => {
    const unknown = problem(404, { code: 'NOT_FOUND', detail: 'There is no crash "x".' });
    const { url } = await queryServer({ GET: unknown });
    const [missing, wrong, gone] = await Promise.all([
      duckcoop(['crashes', 'x', '--url', url]),
      duckcoop(['crashes', 'x', '--limit', '3', '--url', url]),
      duckcoop(['crashes', '--url', `http://127.0.0.1:${await freePort()}`]),
    ]);
    expect([missing.code, missing.stderr]).toEqual([1, 'error NOT_FOUND: There is no crash "x".\n']);
    expect([wrong.code, gone.code]).toEqual([2, 3]);
  });
});

it('duckcoop query says until when a statement is quarantined, in words', async () => {
  const { url } = await queryServer({
    POST: problem(422, {
      ...{ code: 'QUERY_QUARANTINED', detail: 'Not now.', crash_ids: ['a', 'b'] },
      until: Date.UTC(2024, 0, 31, 12),
    }),
  });
  const { code, stderr } = await duckcoop(['query', 'SELECT 1', '--url', url]);
  expect(code).toBe(1);
  expect(stderr).toContain('until: 2024-01-31T12:00:00.000Z');
  expect(stderr).toContain('crash ids: a, b');
});
