import { once } from 'node:events';
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { EGRESS_MAIN, launchEgress, permissionFlags } from '../../src/egress/launch.ts';
import { CHANNEL_FD } from '../../src/egress/protocol.ts';
import { temporaryFolder } from '../support/temp.ts';
import { startEgress } from './egress-harness.ts';

it('it may read the exports and its own code, and nothing else of the machine', async () => {
  const outer = realpathSync(await temporaryFolder());
  const folder = join(outer, 'exports');
  const child = launchEgress({ main: fileURLToPath(new URL('probe.js', import.meta.url)), folder });
  const exited = once(child, 'exit');
  const channel = child.stdio[CHANNEL_FD] as Duplex;
  const lines = createInterface(channel)[Symbol.asyncIterator]();
  const attempt = async (what: string, argument = '') => {
    channel.write(`${JSON.stringify([what, argument])}\n`);
    return JSON.parse((await lines.next()).value as string) as string;
  };
  mkdirSync(folder);
  writeFileSync(join(folder, 'a.csv'), 'exported');
  writeFileSync(join(outer, 'duckcoop.yaml'), 'secret');
  expect(await attempt('read', join(folder, 'a.csv'))).toBe('exported');
  expect(await attempt('environment')).toBe('');
  const denied = 'ERR_ACCESS_DENIED';
  expect(await attempt('read', '/etc/passwd')).toBe(denied);
  expect(await attempt('read', join(outer, 'duckcoop.yaml'))).toBe(denied);
  expect(await attempt('read', '/proc/self/environ')).toBe(denied);
  expect(await attempt('list', outer)).toBe(denied);
  expect(await attempt('write', join(folder, 'b.csv'))).toBe(denied);
  expect(await attempt('run', '/bin/true')).toBe(denied);
  expect(await attempt('thread', '0')).toBe(denied);
  channel.destroy();
  await exited;
});

it('the permission model is asked for by the name that a Node has for it, or not at all', () => {
  expect(permissionFlags(['/a'], new Set(['--experimental-permission']))).toEqual([
    '--experimental-permission',
    '--allow-fs-read=/a',
  ]);
  expect(
    permissionFlags(['/a'], new Set(['--permission', '--experimental-permission', '--allow-net'])),
  ).toEqual(['--permission', '--allow-net', '--allow-fs-read=/a']);
  expect(permissionFlags(['/a'], new Set())).toEqual([]);
});

it('a port that is taken is told with what the system says', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  onTestFinished(() => void other.close());
  const { port } = other.address() as AddressInfo;
  await expect(startEgress({ port })).rejects.toThrow('EADDRINUSE');
});

it('it ends by itself when its channel closes', async () => {
  const child = launchEgress({ main: EGRESS_MAIN, folder: await temporaryFolder() });
  (child.stdio[CHANNEL_FD] as Duplex).destroy();
  expect(await once(child, 'exit')).toEqual([0, null]);
});
