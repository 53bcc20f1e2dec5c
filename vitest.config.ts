import { defineConfig } from 'vitest/config';

/** Tests of the API process's parts: a file does not mind what another one has left in its process. */
const UNITS = [
  'test/*.test.ts',
  'test/{actors,config,crashes,results,sessions,supervisors,telemetry}/**/*.test.ts',
  // Not the one that puts a module of its own in the place of node's.
  'test/http/!(auth).test.ts',
];

export default defineConfig({
  test: {
    projects: [
      // By name, so the many short ones come last and leave neither worker idle for long.
      { extends: true, test: { name: 'processes', include: ['test/**/*.test.ts'], exclude: UNITS } },
      // To load what they test takes longer than the tests: one process of each worker does so once.
      { extends: true, test: { name: 'units', include: UNITS, isolate: false } },
    ],
    setupFiles: ['test/support/seed.ts'],
    globalSetup: ['scripts/lib/vitest-setup.js'],
    // Files wait for processes more than they compute.
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // CI runs on shared machines: a test gets a second attempt there, and the report says `retry x1` of each that took it.
    retry: process.env.CI === 'true' ? 1 : 0,
  },
});
