import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
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
