/**
 * Descriptors that came down from whoever started the API process. Node marks those it finds as not to be passed on, but stops
 * looking at the first gap past 16 (libuv, uv_disable_stdio_inheritance); a worker is to have none but its own.
 */
import { closeSync, readdirSync, readFileSync } from 'node:fs';
import { DATA_FD } from './protocol.ts';

/** All that Node opens by itself is closed on exec (open(2)); a descriptor without that flag is none of ours. */
const CLOSE_ON_EXEC = 0o2000000;

/** Closes them. To be called before native code is loaded, which opens what it likes. */
export function closeInherited(): void {
  for (const name of descriptors()) {
    const descriptor = Number(name);
    if (descriptor <= DATA_FD) continue;
    try {
      const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${name}`, 'utf8'))?.[1];
      if (flags !== undefined && (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) === 0) closeSync(descriptor);
    } catch {
      // The one that the list was read through.
    }
  }
}

/** None where there is no /proc: then Node's own care has to do. */
function descriptors(): string[] {
  try {
    return readdirSync('/proc/self/fd');
  } catch {
    return [];
  }
}
