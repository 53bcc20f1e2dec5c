import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DUCKCOOP, duckcoop, startDuckcoop, startProgram } from '../support/cli.ts';
import { temporaryFolder } from '../support/temp.ts';
import { freePort } from '../support/throwaway.ts';
import { json, problem, queryServer, rows, stream } from './query-server.ts';

const ONE = rows([['one', 'INTEGER']], [[1]]);

describe('duckcoop query', () => {
  it('prints an aligned table, and what is not the result on stderr', async () => {
    const { url } = await queryServer({
      POST: rows(
        [
          ['city', 'VARCHAR'],
          ['sum', 'DECIMAL(18,2)'],
          ['tags', 'VARCHAR[]'],
        ],
        [
          ['Köln', 5, ['a']],
          ['東京', '12345.10', null],
        ],
      ),
    });
    const { code, stdout, stderr } = await duckcoop(['query', 'SELECT 1', '--url', url]);
    expect(stdout.split('\n')).toEqual([
      'city │      sum │ tags',
      '─────┼──────────┼──────',
      'Köln │        5 │ ["a"]',
      '東京 │ 12345.10 │ NULL',
      '',
    ]);
    expect(stderr).toBe('2 rows in 12 ms\n');
    expect(code).toBe(0);
  });

  it('never lets a value move the cursor', async () => {
    const { url } = await queryServer({ POST: rows([['x', 'VARCHAR']], [['a\u001b[2Jb\nc\u202ed']]) });
    const { stdout } = await duckcoop(['query', 'SELECT 1', '--url', url]);
    expect(stdout).toContain('a\\x1b[2Jb\\nc\\u202ed');
  });

  it('sends the SQL with its sources, session and parameters', async () => {
    const { url, received } = await queryServer({ POST: ONE });
    const options = ['--source', 'shop,files', '--session', 's1', '--limit', '7'];
    const params = ['--param', '5', '--param', 'text', '--param', '9007199254740993', '--param', 'null'];
    await duckcoop(['query', 'SELECT ?', '--url', url, ...options, ...params]);
    expect(received).toMatchObject([
      {
        path: '/v1/query',
        body: {
          sql: 'SELECT ?',
          format: 'json',
          sources: ['shop', 'files'],
          session: 's1',
          row_limit: 7,
          params: [5, 'text', { type: 'HUGEINT', value: '9007199254740993' }, null],
        },
      },
    ]);
  });

  it('sends sources of files, with secrets of this side in them', async () => {
    const { url, received } = await queryServer({ POST: ONE });
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'password'), 'from-file\n');
    const crm = `alias: crm\nkind: postgres\nhost: db\npassword: "\${file:./password}"\nuser: "\${env:CRM_USER}"\n`;
    await writeFile(join(folder, 'crm.yaml'), crm);
    await writeFile(join(folder, 'own.json'), '{"alias": "own", "kind": "files", "path": "/data"}');
    const files = ['crm.yaml', 'own.json'].flatMap((name) => ['--inline-source', join(folder, name)]);
    const env = { CRM_USER: 'from-env' };
    await duckcoop(['query', 'SELECT 1', '--url', url, '--source', 'shop', ...files], { env });
    expect(received.map(({ body }) => body.sources)).toEqual([
      [
        'shop',
        { alias: 'crm', kind: 'postgres', host: 'db', password: 'from-file', user: 'from-env' },
        { alias: 'own', kind: 'files', path: '/data' },
      ],
    ]);
    const refused = await duckcoop(['query', 'SELECT 1', '--url', url, ...files]);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain('crm.yaml: user: expected the environment variable CRM_USER to be set');
    const missing = ['--inline-source', join(folder, 'nowhere')];
    expect(await duckcoop(['query', 'SELECT 1', '--url', url, ...missing])).toMatchObject({ code: 2 });
    expect(received).toHaveLength(1);
  });

  it('sends named parameters as an object', async () => {
    const { url, received } = await queryServer({ POST: ONE });
    await duckcoop(['query', 'SELECT $a', '--url', url, '--param', 'a=1', '--param', 'b=x=y']);
    expect(received[0]?.body.params).toEqual({ a: 1, b: 'x=y' });
  });

  it('reads the SQL from standard input for -', async () => {
    const { url, received } = await queryServer({ POST: ONE });
    const { code } = await duckcoop(['query', '-', '--url', url], { input: '-- ünï\nSELECT 1' });
    expect(code).toBe(0);
    expect(received[0]?.body.sql).toBe('-- ünï\nSELECT 1');
  });

  it('finds the server in DUCKCOOP_URL, below a path too', async () => {
    const { url, received } = await queryServer({ POST: ONE });
    const { code } = await duckcoop(['query', 'SELECT 1'], { env: { DUCKCOOP_URL: `${url}/sql` } });
    expect(code).toBe(0);
    expect(received[0]?.path).toBe('/sql/v1/query');
  });

  it('takes the key from the environment or a file, and knows no option for it', async () => {
    const { url, received } = await queryServer({ POST: ONE });
    const file = join(await temporaryFolder(), 'key');
    await writeFile(file, 'from-file\n');
    await duckcoop(['query', 'SELECT 1', '--url', url], { env: { DUCKCOOP_KEY: 'from-env' } });
    await duckcoop(['query', 'SELECT 1', '--url', url, '--key-file', file]);
    expect(received.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer from-env',
      'Bearer from-file',
    ]);
    expect((await duckcoop(['query', 'SELECT 1', '--key', 'k'])).code).toBe(2);
  });

  it('prints the reply as it is for json, and the bytes as they are for parquet', async () => {
    const bytes = randomBytes(300_000);
    const { url, received } = await queryServer({
      POST: (response, request) => {
        if (request.body.format === 'json') response.end('{"data": [[1.0]]}');
        else stream(bytes)(response, request);
      },
    });
    const asJson = await duckcoop(['query', 'SELECT 1', '--url', url, '--format', 'json']);
    const asParquet = await duckcoop(['query', 'SELECT 1', '--url', url, '--format', 'parquet']);
    expect(asJson.stdout).toBe('{"data": [[1.0]]}');
    expect(asParquet.bytes.equals(bytes)).toBe(true);
    expect(asParquet.stderr).toBe('');
    expect(received.map(({ body }) => [body.format, 'row_limit' in body])).toEqual([
      ['json', false],
      ['parquet', false],
    ]);
  });

  it('says that a table was cut, and how to get the rest', async () => {
    const { url, received } = await queryServer({
      POST: json({ columns: [{ name: 'a', type: 'INTEGER' }], data: [[1]], row_count: 1, truncated: true }),
    });
    const { stderr } = await duckcoop(['query', 'SELECT 1', '--url', url]);
    expect(stderr).toMatch(/^1 row, and there are more: --limit/);
    expect(received[0]?.body.row_limit).toBe(10_000);
  });

  it('says a problem by its code, with what belongs to it', async () => {
    const { url } = await queryServer({
      POST: problem(502, {
        code: 'WORKER_CRASHED',
        detail: 'The worker died while it ran the query.',
        worker: {
          id: 'interactive/1',
          incarnation: 4,
          pid: 77,
          signal: 'SIGSEGV',
          exit_code: null,
          phase: 'running',
        },
        crash_id: 'c-9',
        attempts: 2,
      }),
    });
    const { code, stdout, stderr } = await duckcoop(['query', 'SELECT 1', '--url', url]);
    expect(stderr).toBe(
      [
        'error WORKER_CRASHED: The worker died while it ran the query.',
        '  worker interactive/1 (pid 77, incarnation 4): SIGSEGV, phase running',
        '  crash id: c-9',
        '  attempts: 2',
        '',
      ].join('\n'),
    );
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  });

  it('says which fields are wrong, and when to try again', async () => {
    const invalid = await queryServer({
      POST: problem(400, {
        code: 'INVALID_REQUEST',
        detail: 'No.',
        errors: [{ path: 'sql', message: 'is empty' }],
      }),
    });
    const busy = await queryServer({
      POST: problem(503, { code: 'OVERLOADED', detail: 'Full.', retryable: true }, { 'Retry-After': '3' }),
    });
    expect((await duckcoop(['query', ' ', '--url', invalid.url])).stderr).toBe(
      'error INVALID_REQUEST: No.\n  sql: is empty\n',
    );
    expect((await duckcoop(['query', 'x', '--url', busy.url])).stderr).toBe(
      'error OVERLOADED: Full.\n  may be tried again in 3 s\n',
    );
  });

  it('ends with 3 when the server cannot be reached', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const { code, stderr } = await duckcoop(['query', 'SELECT 1', '--url', url]);
    expect({ code, stderr }).toEqual({
      code: 3,
      stderr: expect.stringContaining(`error: cannot reach ${url}/: connect ECONNREFUSED`),
    });
  });

  it('ends with 1 when what answers is no Duckcoop server', async () => {
    const { url } = await queryServer({ POST: (response) => response.writeHead(502).end('<html>') });
    const { code, stderr } = await duckcoop(['query', 'SELECT 1', '--url', url]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `error: ${url}/ answered 502 Bad Gateway, and not as Duckcoop does\n`,
    });
  });

  it.each([
    ['no SQL', []],
    ['an unknown format', ['SELECT 1', '--format', 'xml']],
    ['an unknown option', ['SELECT 1', '--formt', 'csv']],
    ['a URL that is none', ['SELECT 1', '--url', 'localhost:8480']],
    ['parameters of both kinds', ['SELECT 1', '--param', 'a=1', '--param', '2']],
    ['a parameter given twice', ['SELECT 1', '--param', 'a=1', '--param', 'a=2']],
    ['a key file that is not there', ['SELECT 1', '--key-file', '/nowhere/key']],
    ['an output folder that is not there', ['SELECT 1', '-o', '/nowhere/out.csv']],
    ['an output that is a device', ['SELECT 1', '-o', '/dev/null']],
  ])('ends with 2 for %s', async (_what, args) => {
    const { code, stdout, stderr } = await duckcoop(['query', ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^error: /);
  });
});

describe('duckcoop query -o', () => {
  it('puts the whole result into the file, through a link', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'real'));
    await writeFile(join(folder, 'real', 'out.csv'), 'old');
    await symlink(join('real', 'out.csv'), join(folder, 'link.csv'));
    const { url } = await queryServer({ POST: stream('a\n1\n') });
    const { code, stdout } = await duckcoop(
      ['query', 'SELECT 1 AS a', '--url', url, '--format', 'csv', '-o', 'link.csv'],
      { cwd: folder },
    );
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(await readFile(join(folder, 'real', 'out.csv'), 'utf8')).toBe('a\n1\n');
    expect((await readdir(folder)).sort()).toEqual(['link.csv', 'real']);
    expect(await readdir(join(folder, 'real'))).toEqual(['out.csv']);
  });

  it('leaves the old file, and nothing else, when the stream is cut, and says why it was', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'out.csv'), 'old');
    const { url } = await queryServer({
      POST: (response) => {
        response.write('a\n1\n', () => response.destroy());
      },
      GET: json({ state: 'failed', error: { code: 'MEMORY_LIMIT', detail: 'Too much.' } }),
    });
    const { code, stderr } = await duckcoop(
      ['query', 'SELECT 1', '--url', url, '--format', 'csv', '-o', 'out.csv'],
      { cwd: folder },
    );
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: 'error: the result is not whole: MEMORY_LIMIT: Too much.\n',
    });
    expect(await readdir(folder)).toEqual(['out.csv']);
    expect(await readFile(join(folder, 'out.csv'), 'utf8')).toBe('old');
  });

  it('leaves no file when the reply does not say that it is whole', async () => {
    const folder = await temporaryFolder();
    const { url } = await queryServer({ POST: (response) => response.end('a\n1\n') });
    const args = ['query', 'SELECT 1', '--url', url, '--format', 'csv', '-o', join(folder, 'out.csv')];
    const { code, stderr } = await duckcoop(args);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: 'error: the result is not whole: its end is missing\n',
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it('leaves no file when the trailers say that the query failed', async () => {
    const folder = await temporaryFolder();
    const { url } = await queryServer({
      POST: (response) => {
        response.writeHead(200, { Trailer: 'X-Query-Status' });
        response.write('a\n1\n');
        response.addTrailers({ 'X-Query-Status': 'failed' });
        response.end();
      },
    });
    const args = ['query', 'SELECT 1', '--url', url, '--format', 'csv', '-o', join(folder, 'out.csv')];
    const { code, stderr } = await duckcoop(args);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: 'error: the result is not whole: the query ended as failed\n',
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it('leaves the old file, and says that the disk is at fault, when there is no room for the new one', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'out.csv'), 'old');
    const { url } = await queryServer({ POST: stream(`a\n${'1\n'.repeat(100_000)}`) });
    const query = ['query', 'SELECT 1', '--url', url, '--format', 'csv', '-o', 'out.csv'];
    // A file may have 4 KiB: what goes beyond fails as on a full disk (EFBIG).
    const limited = ['-c', 'ulimit -f 8; exec "$@"', 'sh', process.execPath, DUCKCOOP, ...query];
    const { code, stderr } = await startProgram('/bin/sh', limited, { cwd: folder }).ended;
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: 'error: cannot write out.csv: EFBIG: file too large, write\n',
    });
    expect(await readdir(folder)).toEqual(['out.csv']);
    expect(await readFile(join(folder, 'out.csv'), 'utf8')).toBe('old');
  });
});

describe('Ctrl-C on duckcoop query', () => {
  it('cancels the query on the server and ends with 1', async () => {
    const server = await queryServer({ POST: () => {}, DELETE: json({ outcome: 'cancelled' }) });
    const command = startDuckcoop(['query', 'SELECT 1', '--url', server.url]);
    const { body } = await server.next('POST');
    command.process.kill('SIGINT');
    const { path } = await server.next('DELETE');
    expect(path).toBe(`/v1/queries/${String(body.query_id)}`);
    expect(await command.ended).toMatchObject({
      code: 1,
      stdout: '',
      stderr: 'error QUERY_CANCELLED: interrupted; the server says: cancelled\n',
    });
  });

  it('in the middle of a result leaves no file', async () => {
    const folder = await temporaryFolder();
    const server = await queryServer({
      POST: (response) => response.write('a\n1\n'),
      DELETE: json({ outcome: 'killed' }),
    });
    const args = ['query', 'SELECT 1', '--url', server.url, '--format', 'csv', '-o', join(folder, 'out.csv')];
    const command = startDuckcoop(args);
    await server.next('POST');
    command.process.kill('SIGINT');
    expect(await command.ended).toMatchObject({ code: 1, stderr: expect.stringContaining('killed') });
    expect(await readdir(folder)).toEqual([]);
  });

  it('says so when the server does not confirm', async () => {
    const server = await queryServer({ POST: () => {} });
    const command = startDuckcoop(['query', 'SELECT 1', '--url', server.url]);
    await server.next('POST');
    command.process.kill('SIGINT');
    const { code, stderr } = await command.ended;
    expect(code).toBe(1);
    expect(stderr).toContain('did not confirm it (NOT_FOUND: There is no such thing.)');
    expect(stderr).toContain('may still run');
  });

  it('twice ends at once, whatever the server does', async () => {
    const server = await queryServer({ POST: () => {}, DELETE: () => {} });
    const command = startDuckcoop(['query', 'SELECT 1', '--url', server.url]);
    await server.next('POST');
    command.process.kill('SIGINT');
    await server.next('DELETE');
    command.process.kill('SIGINT');
    expect((await command.ended).signal).toBe('SIGINT');
  });
});

describe('a reader of duckcoop query that goes away', () => {
  it('stops the query on the server, and is no failure', async () => {
    const server = await queryServer({
      POST: (response) => {
        const more = () => response.write('x'.repeat(65_536), (error) => error ?? setImmediate(more));
        more();
      },
      DELETE: json({ outcome: 'cancelled' }),
    });
    const command = startDuckcoop(['query', 'SELECT 1', '--url', server.url, '--format', 'csv']);
    command.process.stdout?.once('data', () => command.process.stdout?.destroy());
    await server.next('DELETE');
    expect(await command.ended).toMatchObject({ code: 0, stderr: '' });
  });
});
