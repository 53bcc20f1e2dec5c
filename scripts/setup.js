// Makes a fresh clone ready to run, as npm start and npm test do. usage: node scripts/setup.js
import { setUp } from './lib/set-up.js';

await setUp();
