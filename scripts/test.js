// npm test: sets up what is missing, then runs the tests once. Arguments go to vitest: npm test -- test/cli
import { join } from 'node:path';
import { ROOT, setUp } from './lib/set-up.js';

await setUp();
// In this process: a signal reaches vitest itself, and its exit code is this one's.
const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
process.chdir(ROOT);
process.argv = [process.execPath, vitest, 'run', ...process.argv.slice(2)];
await import(vitest);
