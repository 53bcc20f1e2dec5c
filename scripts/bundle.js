// The programs of Duckcoop's processes, each in a few files rather than in hundreds: to find, read and compile those one by one was
// more than half of what the start of a worker costs. node scripts/bundle.js [FOLDER]: into dist, over what tsc has made of the same
// programs. Each is bundled for itself, so that none loads what only another one needs.
import { join } from 'node:path';
import { build } from 'rolldown';
import { ROOT } from './lib/set-up.js';

const FOLDER = process.argv[2] ?? join(ROOT, 'dist');

const PROGRAMS = [
  ['workers/main', 'workers/lane'],
  ['cli/main'],
  ['config/load-thread'],
  ['egress/main'],
  ['extensions/probe-child'],
];

// Native code lies in its package, piscina starts threads with files of its own, and the SDK is only loaded where there is a bucket.
const EXTERNAL = [/^@duckdb\/node-bindings/, 'piscina', '@aws-sdk/client-s3'];

/** Once it is bundled, a module lies somewhere else: what it looks for beside itself is not there. */
const nothingBeside = {
  name: 'nothing-beside',
  transform(code, id) {
    if (/new URL\([^)]*import\.meta\.url/.test(code) && id.startsWith(join(ROOT, 'src')))
      this.error(`${id}: a path from import.meta.url; give it a name in the "imports" of package.json`);
  },
};

await build(
  PROGRAMS.map((entries) => ({
    input: Object.fromEntries(entries.map((name) => [name, join(ROOT, `src/${name}.ts`)])),
    platform: 'node',
    external: EXTERNAL,
    plugins: [nothingBeside],
    logLevel: 'warn',
    // Of koa's depd, which is careful with it.
    checks: { eval: false },
    output: {
      dir: FOLDER,
      format: 'esm',
      sourcemap: true,
      chunkFileNames: `${entries[0].split('/')[0]}/chunks/[name].js`,
    },
  })),
);
