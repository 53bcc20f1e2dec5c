/** The version of Duckcoop, as its manifest says. */
import { readFileSync } from 'node:fs';

// One folder above this file, in the sources and in dist.
const MANIFEST = new URL('../package.json', import.meta.url);

export const VERSION = String((JSON.parse(readFileSync(MANIFEST, 'utf8')) as { version?: unknown }).version);
