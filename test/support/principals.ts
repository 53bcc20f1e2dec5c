/** Principals as the configuration has them, and the keys they are known by. */
import { createHash } from 'node:crypto';
import { ANONYMOUS, type Principal } from '../../src/principal.ts';

export function keyHash(key: string): string {
  return `sha256:${createHash('sha256').update(key).digest('hex')}`;
}

export function bearer(key: string): Record<string, string> {
  return { Authorization: `Bearer ${key}` };
}

/** A reader who may use everything, but for what is given. */
export function reader(name: string, given: Partial<Principal> = {}): Principal {
  return { ...ANONYMOUS, name, role: 'reader', ...given };
}
