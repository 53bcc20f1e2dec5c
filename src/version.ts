/** The version of Duckcoop, as its manifest says. */
import { createRequire } from 'node:module';

const manifest = createRequire(import.meta.url)('#manifest') as { version?: unknown };

export const VERSION = String(manifest.version);
