// npm start: sets up what is missing, then serves examples/quickstart.yaml. Arguments go to `duckcoop serve`:
// npm start -- --port 0
import { join } from 'node:path';
import { ROOT, setUp } from './lib/set-up.js';

await setUp();
// In this process: a signal reaches the server itself, and its exit code is this one's.
const duckcoop = join(ROOT, 'bin/duckcoop.js');
const config = join(ROOT, 'examples/quickstart.yaml');
process.argv = [process.execPath, duckcoop, 'serve', '--config', config, ...process.argv.slice(2)];
await import(duckcoop);
