/** `duckcoop extensions install|list`. */
import { loadConfig } from '../config/load.ts';
import { formatProblems } from '../config/problems.ts';
import { type InstallOutcome, installExtensions, listExtensions } from '../extensions/install.ts';
import { DEFAULT_EXTENSIONS, extensionName } from '../extensions/layout.ts';
import { ProbeError } from '../extensions/probe.ts';
import { CliError, EXIT, messageOf } from './exit.ts';
import { interrupt } from './interrupt.ts';
import { formatTable } from './table.ts';

export interface ExtensionsOptions {
  readonly config?: string;
  readonly directory?: string;
  readonly repository?: string;
  /** Seconds. */
  readonly timeout?: number;
}

export async function extensionsInstall(names: readonly string[], options: ExtensionsOptions): Promise<void> {
  const wanted = await target(names, options);
  const interrupted = interrupt();
  try {
    const { build, folder, outcomes } = await installExtensions({
      directory: wanted.directory,
      names: wanted.names,
      signal: interrupted.signal,
      onOutcome: (outcome) => process.stdout.write(`${describe(outcome)}\n`),
      ...(options.repository !== undefined && { repository: options.repository }),
      ...(options.timeout !== undefined && { repositoryTimeout: options.timeout * 1000 }),
    });
    const failed = outcomes.filter(({ state }) => state === 'failed').map(({ name }) => name);
    if (failed.length === 0) return;
    throw new CliError(
      EXIT.failed,
      [
        `${failed.join(', ')} for DuckDB ${build.version} on ${build.platform}: not installed.`,
        'Let this machine reach one of the two origins (--repository URL names a mirror; pip has its own settings),',
        `or put the signed file, unpacked, there yourself: ${folder}/<name>.duckdb_extension`,
      ].join('\n'),
    );
  } catch (error) {
    throw explained(error, 'install into', wanted.directory);
  } finally {
    interrupted.release();
  }
}

export async function extensionsList(options: ExtensionsOptions): Promise<void> {
  const { directory, names } = await target([], options);
  const interrupted = interrupt();
  try {
    const { build, folder, files } = await listExtensions(directory, names, interrupted.signal);
    const rows = files.map(({ name, version, bytes, problem, path }) => [
      name,
      version ?? null,
      bytes ?? null,
      problem === undefined ? 'yes' : `no: ${problem}`,
      path,
    ]);
    const columns = [
      { name: 'name', type: 'VARCHAR' },
      { name: 'version', type: 'VARCHAR' },
      { name: 'bytes', type: 'BIGINT' },
      { name: 'loads', type: 'VARCHAR' },
      { name: 'path', type: 'VARCHAR' },
    ];
    process.stdout.write(`${formatTable(columns, rows)}\n`);
    process.stderr.write(`DuckDB ${build.version}, ${build.platform}\n`);
    const wrong = files.filter(({ problem }) => problem !== undefined).map(({ name }) => name);
    if (wrong.length === 0) return;
    throw new CliError(
      EXIT.failed,
      `${wrong.join(', ')}: cannot be loaded from ${folder}. \`duckcoop extensions install\` puts that right.`,
    );
  } catch (error) {
    throw explained(error, 'read', directory);
  } finally {
    interrupted.release();
  }
}

/** Arguments go before the configuration, and the configuration before the defaults. */
async function target(
  names: readonly string[],
  options: ExtensionsOptions,
): Promise<{ readonly directory: string; readonly names: readonly string[] }> {
  const configured = options.config === undefined ? DEFAULTS : extensionsOf(options.config);
  const wanted = (names.length > 0 ? names : configured.load).map((text) => {
    const name = extensionName(text);
    if (name !== undefined) return name;
    throw new CliError(
      EXIT.usage,
      `${JSON.stringify(text)} is no extension name: expected one such as httpfs`,
    );
  });
  return { directory: options.directory ?? configured.directory, names: [...new Set(wanted)] };
}

const DEFAULTS = { directory: 'extensions', load: DEFAULT_EXTENSIONS };

function extensionsOf(file: string): { readonly directory: string; readonly load: readonly string[] } {
  const loaded = loadConfig({ file });
  if (loaded.ok) return loaded.config.extensions;
  throw new CliError(EXIT.usage, `wrong configuration\n${formatProblems(loaded.problems, file)}`);
}

function describe(outcome: InstallOutcome): string {
  switch (outcome.state) {
    case 'present':
      return `${outcome.name}: there already (${outcome.path})`;
    case 'installed':
      return `${outcome.name}: installed from ${outcome.from} (${outcome.path}, ${outcome.bytes} bytes)`;
    case 'failed':
      return [
        `${outcome.name}: failed`,
        ...outcome.attempts.map(({ from, problem }) => `  ${from}: ${problem}`),
      ].join('\n');
  }
}

function explained(error: unknown, doing: string, directory: string): unknown {
  if (error instanceof ProbeError) {
    return new CliError(EXIT.failed, `DuckDB does not start: ${error.message}`, { cause: error });
  }
  if (error instanceof Error && 'syscall' in error) {
    return new CliError(EXIT.failed, `cannot ${doing} ${directory}: ${messageOf(error)}`, { cause: error });
  }
  return error;
}
