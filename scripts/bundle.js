// What a worker process runs, in a few files rather than 300: to find, read and compile each of them by itself was more than half
// of what the start of a worker costs. node scripts/bundle.js [FOLDER]: into dist, over what tsc has made of the same programs.
import { join } from 'node:path';
import { build } from 'rolldown';
import { ROOT } from './lib/set-up.js';

await build({
  input: {
    'workers/main': join(ROOT, 'src/workers/main.ts'),
    'workers/lane': join(ROOT, 'src/workers/lane.ts'),
  },
  platform: 'node',
  // The native code lies in its package, and piscina starts threads with files of its own.
  external: [/^@duckdb\/node-bindings/, 'piscina'],
  logLevel: 'warn',
  output: {
    dir: process.argv[2] ?? join(ROOT, 'dist'),
    format: 'esm',
    sourcemap: true,
    chunkFileNames: 'workers/chunks/[name].js',
  },
});
