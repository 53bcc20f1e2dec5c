/**
 * From a file to a configuration, or to everything that is wrong with it.
 *
 * ```ts
 * const loaded = loadConfig({ file: 'duckcoop.yaml' });
 * if (!loaded.ok) fail(formatProblems(loaded.problems, 'duckcoop.yaml'));
 * else serve(loaded.config);
 * ```
 *
 * text -> YAML -> overrides -> references -> schema and contradictions -> absolute paths
 *
 * Nothing is started and nothing is looked up on the network; files are read synchronously, for this happens before
 * the server serves, and then once a reload.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { roomBesidePools } from '../sessions/admission.ts';
import { isLoopback } from './loopback.ts';
import { notYet } from './not-yet.ts';
import { withAbsolutePaths } from './paths.ts';
import {
  type ConfigProblem,
  inFileOrder,
  isMapping,
  type Path,
  pathText,
  show,
  valueAt,
} from './problems.ts';
import { errorCode, resolveReferences } from './references.ts';
import type { Config } from './schema.ts';
import { formatSize } from './units.ts';
import { validate } from './validate.ts';
import { parseYaml, type YamlText } from './yaml.ts';

export interface LoadOptions {
  /** Without a file every key has its default, and paths are relative to the current directory. */
  readonly file?: string;
  /** From the command line; they win over the file. */
  readonly overrides?: {
    readonly host?: string;
    readonly port?: number;
    /** Serve without authentication on an address that others reach. */
    readonly insecure?: boolean;
  };
  /** Where `${env:NAME}` looks; the process's own environment when not given. */
  readonly env?: NodeJS.ProcessEnv;
  /** Reads the configuration and what `${file:path}` names, by absolute path; throws when it cannot. */
  readonly readFile?: (path: string) => string;
}

export type LoadedConfig =
  | {
      readonly ok: true;
      readonly config: Config;
      /** What to tell the operator: settings without effect yet, and doors left open on purpose. */
      readonly warnings: readonly ConfigProblem[];
    }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** A file that is not there or makes no sense is returned as problems, not thrown. */
export function loadConfig(options: LoadOptions = {}): LoadedConfig {
  const { file, overrides = {}, env = process.env, readFile = readUtf8 } = options;
  const folder = file === undefined ? process.cwd() : dirname(resolve(file));

  const yaml = file === undefined ? NO_FILE : readYaml(resolve(file), readFile);
  if (!yaml.wellFormed) return refused(yaml.problems);

  const { written, overridden } = override(yaml.data, overrides);
  const resolved = resolveReferences(written, { env, readText: (path) => readFile(resolve(folder, path)) });
  const { config, findings } = validate(written, resolved, overrides.insecure === true);

  const problemAt = (path: Path, message: string, hidden = false): ConfigProblem => {
    const value = hidden ? undefined : show(path, valueAt(written, path));
    const place = overridden.has(pathText(path)) ? undefined : placeOf(yaml, path);
    return { path: pathText(path), ...(value !== undefined && { value }), message, ...place };
  };

  const early = notYet(resolved.data);
  // What YAML itself could not tell is no value of a wrong type besides.
  const unread = new Set(yaml.problems.map(({ path }) => path));
  const problems = [
    ...yaml.problems,
    ...findings
      .filter(({ path }) => !unread.has(pathText(path)))
      .map(({ path, message, hidden }) => problemAt(path, message, hidden)),
    ...early
      .filter(({ entry }) => entry.action === 'refuse')
      .map(({ path, entry }) => problemAt(path, entry.message)),
  ];
  if (problems.length > 0) return refused(inFileOrder(problems));

  const warnings = early.map(({ path, entry }) => problemAt(path, entry.message));
  if (config.auth.mode === 'none' && !isLoopback(config.server.host)) {
    warnings.push(
      problemAt(['server', 'host'], 'anyone who reaches this address may do everything (--insecure)'),
    );
  }
  if (config.auth.mode === 'none' && Object.keys(config.auth.principals).length > 0) {
    const message =
      'without effect while auth.mode is none: nobody is asked for a key, and everybody may do everything';
    warnings.push(problemAt(['auth', 'principals'], message));
  }
  const { count, each } = roomBesidePools(config);
  // What follows from a reference is not to be computed aloud.
  const mayTell = ![...resolved.references].some((path) => /^(budget|pools|sessions)\b/.test(path));
  if (mayTell && valueAt(written, ['sessions', 'max']) !== undefined && config.sessions.max > count) {
    const room = count === 1 ? 'one session' : `${count} sessions`;
    const message = `budget.memory has room for ${room} beside the pools: each may take ${formatSize(each)}`;
    warnings.push(problemAt(['sessions', 'max'], message));
  }
  const absolute = withAbsolutePaths(config, folder);
  return { ok: true, config: absolute, warnings: inFileOrder(warnings) };
}

/** A reply or a log that has a problem for each of ten thousand sources helps nobody. */
const MOST_PROBLEMS = 1_000;

function refused(problems: readonly ConfigProblem[]): LoadedConfig {
  if (problems.length <= MOST_PROBLEMS) return { ok: false, problems };
  const more = { path: '', message: `and ${problems.length - MOST_PROBLEMS} problems more` };
  return { ok: false, problems: [...problems.slice(0, MOST_PROBLEMS), more] };
}

const NO_FILE: YamlText = { data: {}, places: new Map(), problems: [], wellFormed: true };

function readYaml(path: string, readFile: (path: string) => string): YamlText {
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    const problem = { path: '', message: `expected a file that can be read (${errorCode(error)})` };
    return { ...NO_FILE, problems: [problem], wellFormed: false };
  }
  const yaml = parseYaml(text);
  // An empty file, or one of comments alone, sets nothing.
  return yaml.data === null ? { ...yaml, data: {} } : yaml;
}

function readUtf8(path: string): string {
  return readFileSync(path, 'utf8');
}

/** The data with the command line's values in it, and the path texts of these: they have no line in the file. */
function override(
  data: unknown,
  { host, port }: NonNullable<LoadOptions['overrides']>,
): { written: unknown; overridden: ReadonlySet<string> } {
  const given = { ...(host !== undefined && { host }), ...(port !== undefined && { port }) };
  const server = valueAt(data, ['server']) ?? {};
  // What is no mapping stays as it is, to be refused as such.
  if (!isMapping(data) || !isMapping(server)) return { written: data, overridden: new Set() };
  const overridden = new Set(Object.keys(given).map((key) => pathText(['server', key])));
  return { written: { ...data, server: { ...server, ...given } }, overridden };
}

/** The place of a value, or of the nearest thing around it that is in the file. */
function placeOf({ places }: YamlText, path: Path): { line: number; column: number } | undefined {
  for (let length = path.length; length > 0; length--) {
    const place = places.get(pathText(path.slice(0, length)));
    if (place) return place;
  }
  return undefined;
}
