/** `--inline-source FILE`: a source that the request brings along, as YAML or JSON; its secrets by reference, from this side's environment and files. */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { isMapping, pathText } from '../config/problems.ts';
import { errorCode, resolveReferences } from '../config/references.ts';
import { parseYaml } from '../config/yaml.ts';
import { CliError, EXIT } from './exit.ts';

/** The `sources` of a request: aliases, and what is in these files. Undefined for none. Throws a {@link CliError}. */
export function sourcesFrom(
  aliases: readonly string[] | undefined,
  files: readonly string[] = [],
): readonly unknown[] | undefined {
  if (files.length === 0) return aliases;
  return [...(aliases ?? []), ...files.map(inlineSource)];
}

/** Paths of references are relative to the file. What is wrong with the source itself the server says. */
function inlineSource(file: string): unknown {
  const { data, problems } = parseYaml(readText(file));
  const folder = dirname(resolve(file));
  const resolved = resolveReferences(data, {
    env: process.env,
    readText: (path) => readFileSync(resolve(folder, path), 'utf8'),
  });
  const wrong = [
    ...problems,
    ...resolved.failures.map(({ path, message }) => ({ path: pathText(path), message })),
  ];
  const [first] = wrong;
  if (first !== undefined)
    throw unusable(file, [first.path, first.message].filter((part) => part !== '').join(': '));
  if (!isMapping(resolved.data)) throw unusable(file, 'expected a mapping of alias, kind and more');
  return resolved.data;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw unusable(file, `cannot be read (${errorCode(error)})`);
  }
}

function unusable(file: string, why: string): CliError {
  return new CliError(EXIT.usage, `--inline-source ${file}: ${why}`);
}
