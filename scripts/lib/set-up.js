// Makes a fresh clone ready to run: packages, build, extensions, the data of the quickstart.
// Each step leaves a stamp of what it was made from and is skipped while that has not changed, so a second run
// says nothing and takes a moment. A lock lets only one set-up work on this folder at a time.
// Node built-ins only: this runs before there is a node_modules.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withLock } from './lock.js';

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const at = (...path) => join(ROOT, ...path);

/** Does what is missing, in order. A step that fails is said in one line and ends the process with exit code 1. */
export async function setUp() {
  try {
    await allSteps();
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    say(error.message);
    process.exit(1);
  }
}

async function allSteps() {
  mkdirSync(at('.duckcoop'), { recursive: true });
  await withLock(
    at('.duckcoop/setup.lock'),
    async () => {
      await packages();
      await build();
      await extensions();
      await quickstartData();
    },
    (owner) => say(`waiting for another set-up of this folder (process ${owner})`),
  );
}

class SetUpError extends Error {}

async function packages() {
  const wanted = hashOf(['package.json', 'package-lock.json'], nativeKey());
  const stamp = at('node_modules/.duckcoop-stamp');
  if (read(stamp) === wanted) return;
  // A node_modules somebody installed by hand is as good, when npm's own record of it says the lock file's versions.
  if (!installedMatches()) {
    say(existsSync(at('node_modules')) ? 'packages have changed: npm ci' : 'installing packages: npm ci');
    await run('npm', ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'], 'npm ci failed');
  }
  writeFileSync(stamp, wanted);
}

/** Whether npm's record in node_modules has every package of the lock file, by version, for this platform. */
function installedMatches() {
  const lock = readJson(at('package-lock.json'))?.packages;
  const installed = readJson(at('node_modules/.package-lock.json'))?.packages;
  if (lock === undefined || installed === undefined) return false;
  return Object.entries(lock).every(
    ([path, entry]) =>
      path === '' ||
      (installed[path] === undefined ? entry.optional === true : installed[path].version === entry.version),
  );
}

async function build() {
  const sources = readdirSync(at('src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1));
  const configs = [
    ...['tsconfig.json', 'tsconfig.build.json', 'scripts/bundle.js'],
    ...['package.json', 'package-lock.json'],
  ];
  const wanted = hashOf([...configs, ...sources.sort()]);
  const stamp = at('dist/.stamp');
  if (read(stamp) === wanted) return;
  say('building');
  // Into a folder beside dist and then in its place: a running server never sees half a build.
  const fresh = at(`.dist-${process.pid}`);
  try {
    await run(
      process.execPath,
      [at('node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--outDir', fresh],
      'the build failed',
    );
    await run(process.execPath, [at('scripts/bundle.js'), fresh], 'the build failed');
    writeFileSync(join(fresh, '.stamp'), wanted);
    const old = `${fresh}-old`;
    if (existsSync(at('dist'))) renameSync(at('dist'), old);
    renameSync(fresh, at('dist'));
    rmSync(old, { recursive: true, force: true });
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

async function extensions() {
  const wanted = `${readJson(at('node_modules/@duckdb/node-api/package.json'))?.version} ${nativeKey()}`;
  const stamp = at('extensions/.stamp');
  const [made, ...files] = (read(stamp) ?? '').split('\n');
  if (made === wanted && files.length > 0 && files.every((file) => existsSync(at('extensions', file))))
    return;
  say('putting the DuckDB extensions in place');
  await run(
    process.execPath,
    [at('bin/duckcoop.js'), 'extensions', 'install', '--directory', at('extensions')],
    'the extensions could not be installed',
  );
  const present = readdirSync(at('extensions'), { recursive: true }).filter((file) =>
    file.endsWith('.duckdb_extension'),
  );
  writeFileSync(stamp, [wanted, ...present].join('\n'));
}

async function quickstartData() {
  const wanted = hashOf(['scripts/quickstart-data.js']);
  const stamp = at('examples/data/.stamp');
  const files = ['shop.db', 'files/orders.parquet', 'files/products.csv'];
  if (read(stamp) === wanted && files.every((file) => existsSync(at('examples/data', file)))) return;
  say('making the data of examples/quickstart.yaml');
  await run(process.execPath, [at('scripts/quickstart-data.js')], 'the quickstart data could not be made');
  writeFileSync(stamp, wanted);
}

/** Native packages are another set on another platform, and built against another Node. */
function nativeKey() {
  return `${process.platform}-${process.arch}-${process.versions.modules}`;
}

function hashOf(paths, extra = '') {
  const hash = createHash('sha256').update(extra);
  for (const path of paths)
    hash.update(`\0${path}\0`).update(existsSync(at(path)) ? readFileSync(at(path)) : '');
  return hash.digest('hex');
}

function read(path) {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ? readFileSync(path, 'utf8') : undefined;
}

function readJson(path) {
  const text = read(path);
  return text === undefined ? undefined : JSON.parse(text);
}

function say(line) {
  process.stderr.write(`[setup] ${line}\n`);
}

/** Asynchronous, so that the lock's heartbeat goes on; its output, a matter of set-up, goes to stderr. */
async function run(command, args, failure) {
  const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', 2, 2] });
  const kill = () => child.kill();
  process.on('exit', kill);
  const code = await new Promise((resolve, reject) => {
    child.on('error', (error) => reject(new SetUpError(`${failure}: ${error.message}`)));
    child.on('close', (exitCode, signal) => resolve(signal ?? exitCode));
  });
  process.off('exit', kill);
  if (code !== 0) throw new SetUpError(`${failure} (${code}); what it said stands above`);
}
