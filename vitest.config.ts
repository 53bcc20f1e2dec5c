import { defineConfig } from 'vitest/config';

/** What needs a process that nobody was in before: for its memory map, its environment, its modules. */
const ALONE = ['test/http/auth.test.ts', 'test/support/servers.test.ts', 'test/workers/launch.test.ts'];

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: 'alone', include: ALONE } },
      // The others share a process of each worker: to load what they test takes longer than many of them do.
      {
        extends: true,
        test: { name: 'shared', include: ['test/**/*.test.ts'], exclude: ALONE, isolate: false },
      },
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
