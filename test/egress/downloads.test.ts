import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { renameSync, rmSync, symlinkSync, truncateSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { until } from '../support/test-server.ts';
import { CLIENT_WRITE_TIMEOUT, download, ID, type RunningEgress, startEgress } from './egress-harness.ts';

/** More than the buffers of both ends of a connection hold. */
const LARGE = 32 * 1024 * 1024;

let egress: RunningEgress;
beforeAll(async () => {
  egress = await startEgress();
  // Only one test is about it, and others may take long on a busy machine.
  egress.process.set(60_000);
});
afterAll(async () => {
  await until('no file is open any more', () => egress.openFiles().length === 0);
  await egress.close();
  expect((await egress.exit).cause).toBe('shutdown');
});

const problem = (reply: { readonly body: Buffer }) => JSON.parse(reply.body.toString());
const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** A client that has sent its request, and takes nothing of the reply yet, which has begun. */
async function silentClient(link: string): Promise<Socket> {
  const { hostname, port, pathname, search } = new URL(link);
  const socket = connect(Number(port), hostname);
  socket.pause().on('error', () => undefined);
  const begun = once(socket, 'readable');
  socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
  // And not another one that somebody before it has just left.
  const name = decodeURIComponent(pathname).split('/').at(-1) as string;
  await until('the file is open', () => egress.openFiles().some((path) => path.includes(name)));
  await begun;
  return socket;
}

it('a file comes whole, with its name, its type and its length, and HEAD says the same without it', async () => {
  egress.write('orders.csv', 'a,b\n1,2\n');
  const got = await download(egress.link('orders.csv'));
  expect(got).toMatchObject({
    status: 200,
    body: Buffer.from('a,b\n1,2\n'),
    headers: {
      'content-length': '8',
      'content-type': 'text/csv; charset=utf-8',
      'content-disposition': 'attachment; filename="orders.csv"',
      'accept-ranges': 'bytes',
      'cache-control': 'private, no-cache',
      'x-content-type-options': 'nosniff',
      etag: expect.stringMatching(/^"[a-z0-9-]+"$/),
      'last-modified': expect.stringMatching(/ GMT$/),
    },
  });
  const { date: _, ...headers } = got.headers;
  const head = await download(egress.link('orders.csv'), { method: 'HEAD' });
  expect(head).toMatchObject({ status: 200, headers });
  expect(head.body).toHaveLength(0);
});

it('partitions, names of any script and empty files are served', async () => {
  const path = 'country=a%20b/日本 "x" #1?.ndjson';
  egress.write(path, '{}\n');
  const got = await download(egress.link(path));
  expect(got).toMatchObject({ status: 200, body: Buffer.from('{}\n') });
  expect(got.headers['content-disposition']).toMatch(/filename\*=UTF-8''%E6%97%A5%E6%9C%AC/);
  egress.write('empty.parquet', '');
  expect(await download(egress.link('empty.parquet'))).toMatchObject({
    status: 200,
    body: Buffer.alloc(0),
    headers: { 'content-type': 'application/vnd.apache.parquet', 'content-length': '0' },
  });
});

it('a download that was cut goes on where it was, and is the same bytes', async () => {
  const content = randomBytes(3_000_001);
  egress.write('part.parquet', content);
  const link = egress.link('part.parquet');
  const { etag = '' } = (await download(link, { method: 'HEAD' })).headers;
  const pieces: Buffer[] = [];
  for (const range of ['bytes=0-999', 'bytes=1000-1999999', 'bytes=2000000-']) {
    const piece = await download(link, { headers: { range, 'if-range': etag } });
    expect(piece.status).toBe(206);
    pieces.push(piece.body);
  }
  expect(sha(Buffer.concat(pieces))).toBe(sha(content));
  const last = await download(link, { headers: { range: 'bytes=-1' } });
  expect(last.headers['content-range']).toBe('bytes 3000000-3000000/3000001');
  const beyond = await download(link, { headers: { range: 'bytes=3000001-' } });
  expect(beyond).toMatchObject({ status: 416, headers: { 'content-range': 'bytes */3000001' } });
  expect(problem(beyond).code).toBe('RANGE_NOT_SATISFIABLE');
  expect(await download(link, { headers: { 'if-none-match': etag } })).toMatchObject({
    status: 304,
    headers: { etag },
  });
});

it('another file at the same path has another tag: no part of one is glued to the other', async () => {
  egress.write('same.csv', 'aaaa');
  const link = egress.link('same.csv');
  const { etag = '' } = (await download(link)).headers;
  renameSync(egress.write('next.csv', 'bbbb'), join(egress.folder, ID, 'same.csv'));
  const whole = await download(link, { headers: { range: 'bytes=2-', 'if-range': etag } });
  expect(whole).toMatchObject({ status: 200, body: Buffer.from('bbbb') });
});

it('an expired link, a forged one, an unknown file and another method are told apart', async () => {
  egress.write('a.csv', 'a');
  const expired = await download(egress.link('a.csv', { forMs: -1 }));
  expect(problem(expired)).toMatchObject({ status: 410, code: 'LINK_EXPIRED', retryable: false });
  const forged = await download(`${egress.link('a.csv')}x`);
  expect(problem(forged)).toMatchObject({ status: 403, code: 'FORBIDDEN', denied: { kind: 'link' } });
  const unknown = await download(egress.link('b.csv'));
  expect(problem(unknown)).toMatchObject({ status: 404, code: 'NOT_FOUND' });
  const post = await download(egress.link('a.csv'), { method: 'POST' });
  expect(post.headers).toMatchObject({ allow: 'GET, HEAD', 'content-type': 'application/problem+json' });
  expect(problem(post)).toMatchObject({ status: 405, code: 'METHOD_NOT_ALLOWED' });
});

it('no way of writing a path leads out of an export or into one that is not finished', async () => {
  egress.write('a.csv', 'unfinished', `${ID}.partial`);
  egress.write('a.csv', 'mine');
  const link = egress.link('a.csv');
  for (const path of [
    `${ID}.partial/a.csv`,
    `${ID}/../${ID}.partial/a.csv`,
    `${ID}/%2e%2e/${ID}.partial/a.csv`,
    `${ID}/..%2f${ID}.partial%2fa.csv`,
    `${ID}//etc/passwd`,
    `${ID}/a.csv%00.parquet`,
    '../etc/passwd',
    `${ID}/..`,
    ID,
    '',
  ]) {
    const reply = await download(link.replace(`${ID}/a.csv`, path));
    expect(problem(reply), path).toMatchObject({ status: 404, code: 'NOT_FOUND' });
  }
});

it('nothing but a regular file is read: no link, no folder, no pipe', async () => {
  const secret = egress.write('secret', 'secret', 'elsewhere');
  egress.write('folder/a.csv', 'a');
  const inside = (path: string) => join(egress.folder, ID, path);
  symlinkSync(secret, inside('link.csv'));
  symlinkSync(dirname(secret), inside('linked-folder'));
  execFileSync('mkfifo', [inside('pipe.csv')]);
  symlinkSync(join(egress.folder, ID), join(egress.folder, ID.replaceAll('0', '1')));
  for (const path of [
    'link.csv',
    'linked-folder/secret',
    'folder',
    'pipe.csv',
    'folder/a.csv/b',
    'x'.repeat(300),
  ]) {
    expect((await download(egress.link(path))).status, path).toBe(404);
  }
  const linked = egress.link('folder/a.csv', { exportId: ID.replaceAll('0', '1') });
  expect((await download(linked)).status).toBe(404);
  expect(egress.openFiles()).toEqual([]);
});

it('a file that is removed while it is read is read to its end', async () => {
  const content = randomBytes(LARGE);
  const file = egress.write('removed.parquet', content);
  const socket = await silentClient(egress.link('removed.parquet'));
  rmSync(file);
  const hash = createHash('sha256');
  let bytes = 0;
  let head = Buffer.alloc(0);
  await new Promise<void>((resolve, reject) => {
    socket.on('close', reject);
    socket.on('data', (chunk: Buffer) => {
      let body = chunk;
      if (bytes === 0) {
        head = Buffer.concat([head, chunk]);
        const end = head.indexOf('\r\n\r\n');
        if (end === -1) return;
        body = head.subarray(end + 4);
      }
      hash.update(body);
      bytes += body.length;
      if (bytes === LARGE) resolve();
    });
    socket.resume();
  });
  socket.destroy();
  expect(hash.digest('hex')).toBe(sha(content));
});

it('a file that becomes shorter while it is read never looks whole', async () => {
  const file = egress.write('cut.parquet', Buffer.alloc(LARGE));
  const socket = await silentClient(egress.link('cut.parquet'));
  truncateSync(file, LARGE / 2);
  let head = '';
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    if (bytes === 0) head = chunk.toString('latin1');
    bytes += chunk.length;
  });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.resume();
  await closed;
  expect(head).toContain(`Content-Length: ${LARGE}\r\n`);
  expect(bytes).toBeLessThan(LARGE);
});

it('a reader that takes nothing is disconnected, and its file is closed', async () => {
  egress.write('slow.parquet', Buffer.alloc(LARGE));
  egress.process.set(CLIENT_WRITE_TIMEOUT);
  const socket = await silentClient(egress.link('slow.parquet'));
  await until('the file is closed', () => egress.openFiles().length === 0);
  egress.process.set(60_000);
  socket.destroy();
});

it('readers that vanish leave no file open', async () => {
  egress.write('gone.parquet', Buffer.alloc(LARGE));
  const link = egress.link('gone.parquet');
  const sockets = await Promise.all(Array.from({ length: 10 }, () => silentClient(link)));
  for (const socket of sockets) socket.resetAndDestroy();
  await until('all files are closed', () => egress.openFiles().length === 0);
});
