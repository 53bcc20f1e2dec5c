/**
 * The second way to an extension file: the Python wheel of the same name, which carries the same signed file
 * at `<module>/extensions/v<version>/<name>.duckdb_extension`. pip downloads and Python unpacks; nothing from
 * the wheel is run or installed, and whoever made it, DuckDB's signature check decides.
 */
import { spawn } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type DuckdbBuild, extensionFileName } from './layout.ts';

const DOWNLOAD_TIMEOUT = 300_000;
const UNPACK_TIMEOUT = 60_000;

/** pip or the wheel failed; the message says how, in pip's own words where it had any. */
export class WheelError extends Error {
  override readonly name = 'WheelError';
}

/** What pip is asked for: `duckdb-extension-postgres-scanner==1.5.5`. */
export function wheelRequirement(build: DuckdbBuild, name: string): string {
  return `duckdb-extension-${name.replaceAll('_', '-')}==${build.version.replace(/^v/, '')}`;
}

/** Downloads the wheel into `scratch` (an existing empty folder) and returns the extension file inside it. */
export async function fetchFromWheel(
  build: DuckdbBuild,
  name: string,
  scratch: string,
  signal?: AbortSignal,
): Promise<string> {
  const downloads = join(scratch, 'wheel');
  const unpacked = join(scratch, 'unpacked');
  await mkdir(downloads);
  await python(
    ['-m', 'pip', 'download', '--quiet', '--no-input', '--disable-pip-version-check', '--no-deps']
      .concat(['--only-binary', ':all:', '--dest', downloads])
      .concat(wheelRequirement(build, name)),
    DOWNLOAD_TIMEOUT,
    signal,
  );
  const wheel = (await readdir(downloads)).find((file) => file.endsWith('.whl'));
  if (wheel === undefined) throw new WheelError('pip reported success but left no wheel');
  await python(['-m', 'zipfile', '-e', join(downloads, wheel), unpacked], UNPACK_TIMEOUT, signal);
  const wanted = `extensions/${build.version}/${extensionFileName(name)}`;
  const inside = (await readdir(unpacked, { recursive: true })).find((path) => path.endsWith(`/${wanted}`));
  if (inside === undefined) throw new WheelError(`${wheel} holds no ${wanted}`);
  return join(unpacked, inside);
}

async function python(args: readonly string[], timeout: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  const child = spawn('python3', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  let failure: WheelError | undefined;
  const end = (message: string) => {
    failure ??= new WheelError(message);
    child.kill('SIGKILL');
  };
  const timer = setTimeout(() => end(`pip gave no result within ${timeout / 1000} s`), timeout);
  const abort = () => end('interrupted');
  signal?.addEventListener('abort', abort, { once: true });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-4000);
  });
  const code = await new Promise<number | null>((resolve) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      end(error.code === 'ENOENT' ? 'python3 is not installed' : error.message);
      resolve(null);
    });
    child.on('close', resolve);
  });
  clearTimeout(timer);
  signal?.removeEventListener('abort', abort);
  if (failure !== undefined) throw failure;
  if (code !== 0) throw new WheelError(complaint(stderr) ?? `python3 ended with exit code ${code}`);
}

/** pip's last `ERROR:` line, or its last line, without the warnings around it. */
function complaint(stderr: string): string | undefined {
  const lines = stderr
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^(WARNING|\[notice\])/.test(line));
  return (lines.findLast((line) => line.startsWith('ERROR:')) ?? lines.at(-1))?.replace(/^ERROR:\s*/, '');
}
