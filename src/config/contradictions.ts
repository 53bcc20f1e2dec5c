/**
 * What one key of the configuration says against another. Each rule is a function of the whole and yields what it
 * finds; none stops at the first. A finding names the values it rests on: when one of these was refused for itself,
 * the finding is about a default the operator never meant, and is not reported.
 */
import { listed } from '../listed.ts';
import { ANONYMOUS, ROLES } from '../principal.ts';
import { isLoopback } from './loopback.ts';
import { type Path, pathText, show, valueAt } from './problems.ts';
import type { Config } from './schema.ts';
import { sourceContradictions } from './source-contradictions.ts';
import { bucketOf } from './source-urls.ts';
import { formatDuration, formatSize } from './units.ts';

export interface Contradiction {
  readonly path: Path;
  readonly message: string;
  /** Other values that make it one. */
  readonly restsOn: readonly Path[];
}

export interface Whole {
  /** With the default in place of every value that was refused. */
  readonly config: Config;
  /** The file's own data before references are resolved: what may be shown. */
  readonly written: unknown;
  /** Path texts of values that hold a reference: what follows from them is not to be computed aloud. */
  readonly references: ReadonlySet<string>;
  readonly insecure: boolean;
}

type Rule = (whole: Whole) => Iterable<Contradiction>;

const RULES: readonly Rule[] = [
  poolLimits,
  budget,
  openToOthers,
  keysWithoutPrincipals,
  inlineSources,
  sharedKeys,
  limitNames,
  egress,
  sources,
];

export function contradictions(whole: Whole): Contradiction[] {
  return RULES.flatMap((rule) => [...rule(whole)]);
}

function* poolLimits(whole: Whole): Iterable<Contradiction> {
  for (const [name, pool] of Object.entries(whole.config.pools)) {
    const at = (...keys: string[]): Path => ['pools', name, ...keys];
    if (pool.memory_limit > pool.memory_hard_limit) {
      const hard = at('memory_hard_limit');
      const limit = say(whole, hard, formatSize(pool.memory_hard_limit));
      const path = at('memory_limit');
      const given = instead(whole, path, formatSize(pool.memory_limit));
      yield { path, message: `expected memory_hard_limit, ${limit}, at most${given}`, restsOn: [hard] };
    }
    const { backoff } = pool.restart;
    if (backoff.initial > backoff.max) {
      const max = at('restart', 'backoff', 'max');
      const limit = say(whole, max, formatDuration(backoff.max));
      const path = at('restart', 'backoff', 'initial');
      const given = instead(whole, path, formatDuration(backoff.initial));
      yield { path, message: `expected backoff.max, ${limit}, at most${given}`, restsOn: [max] };
    }
    if (pool.heartbeat.interval >= pool.heartbeat.timeout) {
      const timeout = at('heartbeat', 'timeout');
      const limit = say(whole, timeout, formatDuration(pool.heartbeat.timeout));
      const path = at('heartbeat', 'interval');
      const given = instead(whole, path, formatDuration(pool.heartbeat.interval));
      yield { path, message: `expected less than heartbeat.timeout, ${limit}${given}`, restsOn: [timeout] };
    }
  }
}

/** Sessions are admitted one by one while serving; only what starts with the server counts here. */
function* budget(whole: Whole): Iterable<Contradiction> {
  const { pools, budget: allowed } = whole.config;
  const restsOn: Path[] = [];
  const shares: string[] = [];
  let total = 0;
  for (const [name, pool] of Object.entries(pools)) {
    const size = ['pools', name, 'size'];
    const reserve = ['pools', name, 'reserve'];
    const hard = ['pools', name, 'memory_hard_limit'];
    restsOn.push(size, reserve, hard);
    total += (pool.size + pool.reserve) * pool.memory_hard_limit;
    const workers = `${say(whole, size, `${pool.size}`)} + ${say(whole, reserve, `${pool.reserve}`)} in reserve`;
    shares.push(`${name} (${workers}) x ${say(whole, hard, formatSize(pool.memory_hard_limit))}`);
  }
  if (total <= allowed.memory) return;
  const secretly = restsOn.some((path) => whole.references.has(pathText(path)));
  const sum = secretly ? 'what the pools may take' : `the ${formatSize(total)} that the pools may take`;
  const path = ['budget', 'memory'];
  const given = instead(whole, path, formatSize(allowed.memory));
  yield { path, message: `expected ${sum} or more${given}: ${shares.join('; ')}`, restsOn };
}

function* openToOthers({ config, insecure }: Whole): Iterable<Contradiction> {
  if (config.auth.mode !== 'none' || insecure || isLoopback(config.server.host)) return;
  yield {
    path: ['server', 'host'],
    message:
      'expected a loopback address such as 127.0.0.1 while auth.mode is none: anyone who reaches another address may do everything (--insecure allows it)',
    restsOn: [['auth', 'mode']],
  };
}

function* keysWithoutPrincipals({ config }: Whole): Iterable<Contradiction> {
  if (config.auth.mode !== 'api_keys' || Object.keys(config.auth.principals).length > 0) return;
  const path = ['auth', 'principals'];
  yield {
    path,
    message: 'expected a principal at least while auth.mode is api_keys',
    restsOn: [['auth', 'mode']],
  };
}

function* inlineSources({ config }: Whole): Iterable<Contradiction> {
  if (config.auth.mode === 'none' || config.auth.inline_sources.length === 0) return;
  const message =
    'expected it of each principal (auth.principals.NAME.inline_sources) while auth.mode is api_keys';
  yield { path: ['auth', 'inline_sources'], message, restsOn: [['auth', 'mode']] };
}

function* sharedKeys({ config }: Whole): Iterable<Contradiction> {
  const owners = new Map<string, string>();
  for (const [name, { key_hash }] of Object.entries(config.auth.principals)) {
    const owner = owners.get(key_hash.reveal());
    const path = ['auth', 'principals', name, 'key_hash'];
    if (owner !== undefined) {
      yield { path, message: `expected a key of its own; ${owner} has the same`, restsOn: [] };
    }
    owners.set(key_hash.reveal(), owner ?? name);
  }
}

function* limitNames({ config, written }: Whole): Iterable<Contradiction> {
  const principals = keysOf(valueAt(written, ['auth', 'principals']));
  const known = new Set<string>([
    ...ROLES,
    ...(config.auth.mode === 'none' ? [ANONYMOUS.name] : []),
    ...principals,
  ]);
  for (const name of Object.keys(config.limits)) {
    if (known.has(name)) continue;
    const path = ['limits', name];
    const restsOn = [['auth', 'mode'], ...(principals.length > 0 ? [] : [['auth', 'principals']])];
    yield { path, message: `expected a role or a principal: ${listed([...known])}`, restsOn };
  }
}

function* egress({ config, written }: Whole): Iterable<Contradiction> {
  if (valueAt(written, ['exports']) === undefined) return;
  if (!Object.hasOwn(config.pools, 'exports')) {
    const message = 'expected a pool named exports for the export jobs to run in';
    yield { path: ['exports'], message, restsOn: [['pools']] };
  }
  const { port } = config.exports.egress;
  if (port !== 0 && port === config.server.port) {
    const message = 'expected another port than server.port: the egress process listens for itself';
    yield { path: ['exports', 'egress', 'port'], message, restsOn: [['server', 'port']] };
  }
}

function* sources({ config, written }: Whole): Iterable<Contradiction> {
  const aliases = new Map<string, string>();
  for (const [alias, source] of Object.entries(config.sources)) {
    const same = aliases.get(alias.toLowerCase());
    if (same !== undefined) {
      const message = `expected another alias: DuckDB takes ${same} for the same`;
      yield { path: ['sources', alias], message, restsOn: [] };
    }
    aliases.set(alias.toLowerCase(), alias);
    for (const { key, message, restsOn } of sourceContradictions(source)) {
      const others = restsOn.map((other) => ['sources', alias, other]);
      yield { path: ['sources', alias, key], message, restsOn: others };
    }
    if (source.kind === 'ducklake' && source.data_path.startsWith('s3://')) {
      const message = 'expected a path below one of the s3 sources, whose keys it is read with';
      if (bucketOf(source.data_path, config.sources) === undefined)
        yield { path: ['sources', alias, 'data_path'], message, restsOn: [] };
    }
    if (source.kind === 'ducklake' && 'source' in source.catalog) {
      yield* ducklakeCatalog(alias, source.catalog.source, config.sources, written);
    }
  }
}

function* ducklakeCatalog(
  alias: string,
  catalog: string,
  configured: Config['sources'],
  written: unknown,
): Iterable<Contradiction> {
  const kinds: readonly (string | undefined)[] = ['postgres'];
  if (kinds.includes(configured[catalog]?.kind)) return;
  const there = valueAt(written, ['sources', catalog]) !== undefined;
  const message = `expected the alias of a configured ${kinds.join(', ')} source, or the path of a file (./name)`;
  yield { path: ['sources', alias, 'catalog'], message, restsOn: there ? [['sources', catalog]] : [] };
}

/** What a message may say of a value: the text of the file, or the default. */
function say({ written }: Whole, path: Path, fallback: string): string {
  return show(path, valueAt(written, path)) ?? `${fallback} (default)`;
}

/** A value that is not in the file is told with the problem, for there is nothing to be seen where it points. */
function instead({ written }: Whole, path: Path, fallback: string): string {
  return valueAt(written, path) === undefined ? `, instead of ${fallback} (default)` : '';
}

function keysOf(value: unknown): string[] {
  return typeof value === 'object' && value !== null ? Object.keys(value) : [];
}
