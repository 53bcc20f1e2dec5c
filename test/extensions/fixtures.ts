/** Where extensions come from in tests: a repository on this machine, and wheels made here. No network. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { onTestFinished } from 'vitest';
import { ROOT } from '../support/cli.ts';

export interface RealExtension {
  readonly version: string;
  readonly platform: string;
  readonly bytes: Buffer;
}

/** A file that set-up has put in place: signed, for this DuckDB and platform. */
export function realExtension(name: string): RealExtension {
  const base = join(ROOT, 'extensions');
  const found = foldersOf(base).flatMap((version) =>
    foldersOf(join(base, version)).map((platform) => ({ version, platform })),
  );
  for (const { version, platform } of found) {
    const file = join(base, version, platform, `${name}.duckdb_extension`);
    if (existsSync(file)) return { version, platform, bytes: readFileSync(file) };
  }
  throw new Error(`${name} is not in ${base}: run \`npm test\`, which sets it up`);
}

function foldersOf(path: string): string[] {
  if (!existsSync(path)) return [];
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}

/** The same file with one byte of its code changed: everything is right but the signature. */
export function tampered(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  const middle = Math.floor(copy.length / 2);
  copy[middle] = (copy[middle] ?? 0) ^ 0xff;
  return copy;
}

/** Any HTTP server on this machine, closed when the test ends. */
export async function httpServer(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A mirror of DuckDB's repository that has these extensions. */
export function repository(files: Readonly<Record<string, RealExtension>>): Promise<string> {
  const served = new Map(
    Object.entries(files).map(([name, { version, platform, bytes }]) => [
      `/${version}/${platform}/${name}.duckdb_extension.gz`,
      gzipSync(bytes, { level: 1 }),
    ]),
  );
  return httpServer((request, response) => {
    const body = served.get(request.url ?? '');
    if (body === undefined) response.writeHead(404).end();
    else response.end(body);
  });
}

/** A wheel with this extension in `folder`, and the environment in which pip sees no other. */
export async function wheels(
  folder: string,
  files: Readonly<Record<string, RealExtension>>,
): Promise<Record<string, string>> {
  for (const [name, { version, bytes }] of Object.entries(files)) {
    const module = `duckdb_extension_${name}`;
    const number = version.slice(1);
    const content = join(folder, 'content', name);
    const info = `${module}-${number}.dist-info`;
    await mkdir(join(content, module, 'extensions', version), { recursive: true });
    await mkdir(join(content, info));
    await writeFile(join(content, module, 'extensions', version, `${name}.duckdb_extension`), bytes);
    const title = module.replaceAll('_', '-');
    await writeFile(
      join(content, info, 'METADATA'),
      `Metadata-Version: 2.1\nName: ${title}\nVersion: ${number}\n`,
    );
    await writeFile(
      join(content, info, 'WHEEL'),
      'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    );
    await writeFile(join(content, info, 'RECORD'), '');
    const wheel = join(folder, `${module}-${number}-py3-none-any.whl`);
    const made = spawnSync('python3', ['-m', 'zipfile', '-c', wheel, module, info], { cwd: content });
    if (made.status !== 0) throw new Error(`no wheel: ${made.stderr.toString()}`);
  }
  return { PIP_NO_INDEX: '1', PIP_FIND_LINKS: folder, PIP_EXTRA_INDEX_URL: '' };
}
