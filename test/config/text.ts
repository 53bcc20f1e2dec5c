import { type LoadedConfig, type LoadOptions, loadConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';

export const FOLDER = '/etc/duckcoop';
export const FILE = `${FOLDER}/duckcoop.yaml`;
export const KEY_HASH = `sha256:${'ab'.repeat(32)}`;

/** Loads a text as if it were the file, with these other files around it. */
export function loadText(
  text: string,
  { files = {}, ...options }: LoadOptions & { files?: Record<string, string> } = {},
): LoadedConfig {
  const known: Record<string, string> = { ...files, [FILE]: text };
  const readFile = (path: string): string => {
    const content = known[path];
    if (content === undefined) throw Object.assign(new Error(`no file ${path}`), { code: 'ENOENT' });
    return content;
  };
  return loadConfig({ file: FILE, env: {}, readFile, ...options });
}

export function configOf(loaded: LoadedConfig): Config {
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems, null, 2));
  return loaded.config;
}

/** `path | value | message`, for tables of expectations. */
export function problemsOf(loaded: LoadedConfig): string[] {
  if (loaded.ok) return [];
  return loaded.problems.map(({ path, value, message }) => `${path} | ${value ?? '-'} | ${message}`);
}

export function pathsOf(loaded: LoadedConfig): string[] {
  return loaded.ok ? [] : loaded.problems.map(({ path }) => path);
}
