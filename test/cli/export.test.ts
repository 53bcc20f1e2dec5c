/** `duckcoop export` and `duckcoop exports`: an API that says what a test has it say, and real files of a real egress process. */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { download, ID, type RunningEgress, startEgress } from '../egress/egress-harness.ts';
import { duckcoop, startDuckcoop } from '../support/cli.ts';
import { tcpProxy } from '../support/tcp-proxy.ts';
import { temporaryFolder } from '../support/temp.ts';
import { type Answer, json, problem, queryServer } from './query-server.ts';

let egress: RunningEgress;
beforeAll(async () => {
  egress = await startEgress();
});
afterAll(() => egress.close());

const BEGUN = json({ export_id: ID, state: 'queued', files: [] }, 202);

/** An export of these files, which are there. */
function finished(contents: Readonly<Record<string, Buffer>>, link = (path: string) => egress.link(path)) {
  const files = Object.entries(contents).map(([path, content]) => {
    egress.write(path, content);
    return { path, bytes: content.length, url: link(path) };
  });
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return { export_id: ID, state: 'succeeded', rows: 3, bytes, created_at: 1_000, finished_at: 2_500, files };
}

/** One answer after the other, the last one for ever. */
function inTurn(...answers: readonly [Answer, ...Answer[]]): Answer {
  let next = 0;
  return (response, request) => {
    const answer = answers[Math.min(next, answers.length - 1)] as Answer;
    next += 1;
    answer(response, request);
  };
}

describe('duckcoop export', () => {
  it('waits until the files are there, and prints their links, which work', async () => {
    const content = Buffer.from('a\n1\n');
    const { url, received } = await queryServer({
      POST: BEGUN,
      GET: inTurn(
        json({ export_id: ID, state: 'running', files: [] }),
        json(finished({ 'k=1/data_0.csv': content })),
      ),
    });
    const options = ['--format', 'csv', '--compression', 'none', '--partition-by', 'k,l', '--source', 'a,b'];
    const { code, stdout, stderr } = await duckcoop(['export', 'SELECT 1', '--url', url, ...options]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: `${ID}, 3 rows, 4 B, 1 file, 1.5 s\n` });
    const [header, , row = ''] = stdout.split('\n');
    expect(header).toMatch(/^file +│ +size │ link$/);
    const [path, size, link = ''] = row.split('│').map((cell) => cell.trim());
    expect([path, size]).toEqual(['k=1/data_0.csv', '4 B']);
    expect((await download(link)).body).toEqual(content);
    expect(received[0]).toMatchObject({
      method: 'POST',
      path: '/v1/exports',
      body: {
        sql: 'SELECT 1',
        sources: ['a', 'b'],
        format: 'csv',
        compression: 'none',
        partition_by: ['k', 'l'],
      },
    });
  });

  it('fetches the files into a folder that it makes, below their own folders', async () => {
    const contents = { 'k=1/a.parquet': randomBytes(100_000), 'k=2/b.parquet': Buffer.alloc(0) };
    const { url } = await queryServer({ POST: BEGUN, GET: json(finished(contents)) });
    const folder = join(await temporaryFolder(), 'new');
    const { code, stdout } = await duckcoop(['export', 'SELECT 1', '--url', url, '-o', folder]);
    expect(code).toBe(0);
    expect(stdout).toBe(`${join(folder, 'k=1/a.parquet')}\n${join(folder, 'k=2/b.parquet')}\n`);
    for (const [path, content] of Object.entries(contents)) {
      expect(readFileSync(join(folder, path)).equals(content), path).toBe(true);
    }
    expect(readdirSync(folder, { recursive: true })).toHaveLength(4);
  });

  it('goes on where a download was cut, and asks for another link where one is not good any more', async () => {
    const content = randomBytes(4_000_000);
    const { port } = new URL(egress.url);
    const proxy = await tcpProxy({ host: '127.0.0.1', port: Number(port) });
    onTestFinished(() => proxy.close());
    const cut = (path: string) => egress.link(path).replace(`:${port}/`, `:${proxy.port}/`);
    const document = finished({ 'a.parquet': content }, cut);
    const expired = {
      ...document,
      files: [{ ...document.files[0], url: egress.link('a.parquet', { forMs: -1 }) }],
    };
    const { url } = await queryServer({ POST: BEGUN, GET: inTurn(json(expired), json(document)) });
    proxy.after(1_000_000, 'cut');
    const folder = await temporaryFolder();
    const { code, stderr } = await duckcoop(['export', 'SELECT 1', '--url', url, '-o', folder]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(readFileSync(join(folder, 'a.parquet')).equals(content)).toBe(true);
    expect(proxy.accepted).toBe(2);
  });

  it('leaves nothing of a file that is not what the server says', async () => {
    const document = finished({ 'a.csv': Buffer.from('abc') });
    const wrong = { ...document, files: [{ ...document.files[0], bytes: 4 }] };
    const { url } = await queryServer({ POST: BEGUN, GET: json(wrong) });
    const folder = await temporaryFolder();
    const { code, stderr } = await duckcoop(['export', 'SELECT 1', '--url', url, '-o', folder]);
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('the server says 4') });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('writes nowhere but below the folder, whatever the server says', async () => {
    const document = finished({ 'a.csv': Buffer.from('abc') });
    for (const path of ['../out.csv', '/out.csv']) {
      const { url } = await queryServer({
        GET: json({ ...document, files: [{ ...document.files[0], path }] }),
      });
      const outer = await temporaryFolder();
      const { code, stderr } = await duckcoop(['exports', 'get', ID, '--url', url, '-o', join(outer, 'in')]);
      expect({ code, stderr }, path).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('no path below'),
      });
      expect(existsSync(join(outer, 'out.csv'))).toBe(false);
    }
  });

  it('cancels the export on the server at Ctrl-C, and ends with what the server says', async () => {
    const server = await queryServer({
      POST: BEGUN,
      GET: json({ export_id: ID, state: 'running', files: [] }),
      DELETE: json({ outcome: 'cancelled', files: 'none' }),
    });
    const command = startDuckcoop(['export', 'SELECT 1', '--url', server.url]);
    await server.next('GET');
    command.process.kill('SIGINT');
    expect((await server.next('DELETE')).path).toBe(`/v1/exports/${ID}`);
    const { code, stderr } = await command.ended;
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: 'error QUERY_CANCELLED: interrupted; the server says: cancelled\n',
    });
  });

  it('ends with the reason of an export that failed, and of one that was refused', async () => {
    const error = { code: 'SQL_ERROR', detail: 'no such table' };
    const failed = await queryServer({
      POST: BEGUN,
      GET: json({ export_id: ID, state: 'failed', files: [], error }),
    });
    expect(await duckcoop(['export', 'x', '--url', failed.url])).toMatchObject({
      code: 1,
      stderr: 'error SQL_ERROR: no such table\n',
    });
    const members = {
      code: 'INVALID_REQUEST',
      detail: 'It is wrong.',
      errors: [{ path: 'to', message: 'no' }],
    };
    const refusing = await queryServer({ POST: problem(400, members) });
    const refused = await duckcoop(['export', 'x', '--url', refusing.url, '--to', 's3:lake/some/where']);
    expect(refused).toMatchObject({ code: 1, stderr: 'error INVALID_REQUEST: It is wrong.\n  to: no\n' });
    expect(refusing.received[0]?.body.destination).toEqual({
      kind: 's3',
      source: 'lake',
      prefix: 'some/where',
    });
  });

  it('refuses what cannot be meant', async () => {
    for (const wrong of [
      ['--to', 'lake'],
      ['--to', 's3:lake', '-o', 'folder'],
    ]) {
      expect((await duckcoop(['export', 'x', ...wrong])).code, wrong.join(' ')).toBe(2);
    }
  });
});

describe('duckcoop exports', () => {
  it('lists them, and deletes one', async () => {
    const { url } = await queryServer({
      GET: json({
        exports: [{ ...finished({}), principal: 'me', format: 'csv', expires_at: Date.now() + 190_000_000 }],
      }),
      DELETE: json({ outcome: 'already_finished', files: 'deleted' }),
    });
    const { stdout } = await duckcoop(['exports', '--url', url]);
    expect(
      stdout
        .split('\n')[2]
        ?.split('│')
        .map((cell) => cell.trim()),
    ).toEqual([...[ID, 'succeeded', '', 'me', 'csv', '3', '0 B', '0', '2 d 4 h']]);
    expect(await duckcoop(['exports', 'delete', ID, '--url', url])).toMatchObject({
      code: 0,
      stdout: 'deleted\n',
    });
  });
});
