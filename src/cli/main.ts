/**
 * The `duckcoop` command: its words, and which module answers each. A command's module is loaded only when it is
 * asked for, so that `query` starts fast and no command loads DuckDB into this process.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { ROLES } from '../principal.ts';
import { VERSION } from '../version.ts';
import type { ServerOptions } from './ask.ts';
import type { CancelOptions } from './cancel.ts';
import type { ChaosOptions } from './chaos.ts';
import type { CrashesOptions } from './crashes.ts';
import { CliError, EXIT, messageOf } from './exit.ts';
import type { ExportOptions, FetchOptions } from './export.ts';
import type { ExtensionsOptions } from './extensions.ts';
import { EXPORT_FORMATS, FORMATS, QUERY_STATES } from './formats.ts';
import type { KeysOptions } from './keys.ts';
import type { ListOptions, QueriesOptions } from './lists.ts';
import type { QueryOptions } from './query.ts';
import type { ServeOptions } from './serve.ts';
import type { NewSessionOptions } from './sessions.ts';
import type { TreeOptions } from './tree.ts';

const program = new Command('duckcoop')
  .description(
    'SQL over databases, files and object storage with DuckDB, as a service that survives crashes.',
  )
  .version(VERSION)
  .showHelpAfterError('(--help says more)')
  // What stands behind a command is that command's: `sessions new --url` is not the `--url` of `sessions`.
  .enablePositionalOptions()
  .exitOverride();

program
  .command('serve')
  .description('Serve until SIGTERM or SIGINT.')
  .option('--config <file>', 'the configuration; without one, defaults on 127.0.0.1:8480')
  .option('--host <address>', 'in place of server.host')
  .option('--port <number>', 'in place of server.port; 0 picks a free one', wholeNumber)
  .option('--insecure', 'serve without authentication on an address that others reach')
  .action(async (options: ServeOptions) => {
    const { serveCommand } = await import('./serve.ts');
    await serveCommand(options);
  });

program
  .command('check')
  .description('Say everything that is wrong with a configuration, without starting anything.')
  .argument('<file>', 'the configuration')
  .action(async (file: string) => {
    const { checkCommand } = await import('./check.ts');
    checkCommand(file);
  });

asksServer(program.command('query'))
  .description('Run SQL on a server. The key, where one is needed, comes from DUCKCOOP_KEY or --key-file.')
  .argument('<sql>', 'one statement, or several separated by ";"; - reads it from standard input')
  .addOption(new Option('--format <format>', 'of the result').choices(FORMATS).default('table'))
  .option('--source <aliases>', 'sources to attach: a,b', commaSeparated)
  .option('--inline-source <file>', 'a source to bring along, as YAML with its alias; repeat it', repeated)
  .option('--session <id>', 'run inside this session')
  .option('--param <value>', 'a parameter: VALUE for ? and $1, NAME=VALUE for $name; repeat it', repeated)
  .option('--limit <rows>', 'rows at most (default: 10000 for a table, else all)', wholeNumber)
  .option('-o, --output <file>', 'write the result there, whole or not at all')
  .action(async (sql: string, options: QueryOptions) => {
    const { queryCommand } = await import('./query.ts');
    await queryCommand(sql, options);
  });

asksServer(program.command('export'))
  .description('Turn the result of a query into files on the server: prints their links, or fetches them.')
  .argument('<sql>', 'one statement, or several separated by ";"; - reads it from standard input')
  .addOption(new Option('--format <format>', 'of the files (default: parquet)').choices(EXPORT_FORMATS))
  .option('--compression <name>', 'zstd, gzip, none; for parquet snappy and lz4 too')
  .option('--partition-by <columns>', 'a folder for each value of them: a,b', commaSeparated)
  .option('--file-size <size>', 'begins another file at that size or so: 100MB')
  .option('--source <aliases>', 'sources to attach: a,b', commaSeparated)
  .option('--inline-source <file>', 'a source to bring along, as YAML with its alias; repeat it', repeated)
  .option('--param <value>', 'a parameter: VALUE for ? and $1, NAME=VALUE for $name; repeat it', repeated)
  .option('--to <place>', 'where the files go, in place of the server: s3:ALIAS/PREFIX')
  .option('-o, --output <folder>', 'fetch the files into it, each whole or not at all')
  .option('--json', 'print all that the server says of it, in place of the links')
  .action(async (sql: string, options: ExportOptions) => {
    const { exportCommand } = await import('./export.ts');
    await exportCommand(sql, options);
  });

const exported = asksServer(program.command('exports'))
  .description('List the exports of a server, newest first; those of others only for an operator.')
  .addOption(formatOption('table'))
  .action(async (options: ListOptions) => {
    const { exportsCommand } = await import('./lists.ts');
    await exportsCommand(options);
  });

asksServer(exported.command('get'))
  .description('Wait until an export has ended, and fetch its files; without a folder, print new links.')
  .argument('<id>', 'its export_id')
  .option('-o, --output <folder>', 'fetch the files into it, each whole or not at all')
  .option('--json', 'print all that the server says of it, in place of the links')
  .action(async (id: string, options: FetchOptions) => {
    const { fetchCommand } = await import('./export.ts');
    await fetchCommand(id, options);
  });

asksServer(exported.command('delete'))
  .description('Stop an export where it runs, and delete its files.')
  .argument('<id>', 'its export_id')
  .action(async (id: string, options: ServerOptions) => {
    const { deleteCommand } = await import('./export.ts');
    await deleteCommand(id, options);
  });

asksServer(program.command('crashes'))
  .description('The workers that died, newest first, or all that is known of one of them.')
  .argument('[id]', 'the id of a crash')
  .option('--limit <crashes>', 'crashes in the list at most (default: 100)', wholeNumber)
  .addOption(formatOption('table'))
  .action(async (id: string | undefined, options: CrashesOptions) => {
    const { crashesCommand } = await import('./crashes.ts');
    await crashesCommand(id, options);
  });

const keys = program.command('keys').description('The keys that clients send while auth.mode is api_keys.');

keys
  .command('new')
  .description('Make a key: it goes to standard output, what the configuration says of it to standard error.')
  .argument('<name>', 'the principal whose key it is')
  .addOption(new Option('--role <role>', 'what it may do').choices(ROLES).default('reader'))
  .option('--sources <aliases>', 'sources it may use: a,b (default: all)', commaSeparated)
  .option('--pools <names>', 'pools it may use, its default first: a,b (default: all)', commaSeparated)
  .option(
    '--inline-sources <kinds>',
    'kinds of sources it may bring along: postgres,mysql (default: none)',
    commaSeparated,
  )
  .action(async (name: string, options: KeysOptions) => {
    const { keysNew } = await import('./keys.ts');
    await keysNew(name, options);
  });

asksServer(program.command('tree'))
  .description('Draw the supervision tree of a server.')
  .option(
    '--watch',
    'draw it again whenever something happens, until Ctrl-C; elsewhere than on a terminal, a line for each event',
  )
  .addOption(formatOption('text'))
  .action(async (options: TreeOptions) => {
    const { treeCommand } = await import('./tree.ts');
    await treeCommand(options);
  });

asksServer(program.command('workers'))
  .description('List the worker processes of a server.')
  .addOption(formatOption('table'))
  .action(async (options: ListOptions) => {
    const { workersCommand } = await import('./lists.ts');
    await workersCommand(options);
  });

asksServer(program.command('queries'))
  .description('List what runs, waits, or has ended lately on a server, newest first.')
  .addOption(new Option('--state <state>', 'only these').choices(QUERY_STATES))
  .option('--pool <name>', 'only of this pool')
  .option('--limit <number>', 'queries at most (default: 100)', wholeNumber)
  .addOption(formatOption('table'))
  .action(async (options: QueriesOptions) => {
    const { queriesCommand } = await import('./lists.ts');
    await queriesCommand(options);
  });

const sessions = asksServer(program.command('sessions'))
  .description('List the sessions of a server; those of others only for an operator.')
  .addOption(formatOption('table'))
  .action(async (options: ListOptions) => {
    const { sessionsCommand } = await import('./lists.ts');
    await sessionsCommand(options);
  });

asksServer(sessions.command('new'))
  .description('Open a session, and print its id: a workspace of its own, for query --session.')
  .option('--name <text>', 'for people')
  .option('--source <aliases>', 'sources it keeps attached: a,b', commaSeparated)
  .option('--ttl <time>', 'how long it lasts: 8h')
  .option('--idle-timeout <time>', 'how long it lasts without a query: 15m')
  .option('--memory-limit <size>', 'of its DuckDB: 256MB')
  .option('--disk-limit <size>', 'of its tables and what its queries spill: 2GB')
  .option('--threads <number>', 'DuckDB threads', wholeNumber)
  .addOption(formatOption('text'))
  .action(async (options: NewSessionOptions) => {
    const { sessionsNew } = await import('./sessions.ts');
    await sessionsNew(options);
  });

asksServer(sessions.command('end'))
  .description('End a session; returns once its query is cancelled, its worker gone and its files are wiped.')
  .argument('<id>', 'its session_id')
  .addOption(formatOption('text'))
  .action(async (id: string, options: NewSessionOptions) => {
    const { sessionsEnd } = await import('./sessions.ts');
    await sessionsEnd(id, options);
  });

asksServer(program.command('cancel'))
  .description('Stop a query on a server; ends once the query has really stopped, and says how it did.')
  .argument('<id>', 'its query_id')
  .addOption(formatOption('text'))
  .action(async (id: string, options: CancelOptions) => {
    const { cancelCommand } = await import('./cancel.ts');
    await cancelCommand(id, options);
  });

asksServer(program.command('chaos'))
  .description(
    'Put load and faults on a server that allows them (chaos.enabled), and hold each reply to the contract.',
  )
  .option('--faults <names>', 'which: sigsegv,hang,... (default: all that a worker dies of)', commaSeparated)
  .option('--rate <number>', 'faults in a second, on average', positiveNumber, 1)
  .option('--duration <time>', 'for how long', '30s')
  .option('--concurrency <clients>', 'clients that send queries', wholeNumber, 16)
  .option('--pool <name>', 'the pool that is struck (default: the one that queries go to)')
  .addOption(formatOption('text'))
  .action(async (options: ChaosOptions) => {
    const { chaosCommand } = await import('./chaos.ts');
    await chaosCommand(options);
  });

const extensions = program.command('extensions').description('The DuckDB extensions that workers load.');

extensions
  .command('install')
  .description('Download, verify and put in place what is missing.')
  .argument('[names...]', 'extensions (default: those of the configuration)')
  .option('--config <file>', 'take folder and names from this configuration')
  .option('--directory <folder>', 'the extension folder (default: ./extensions)')
  .option('--repository <url>', "a mirror of DuckDB's repository")
  .option('--timeout <seconds>', 'how long the repository may take for one file (default: 15)', wholeNumber)
  .action(async (names: string[], options: ExtensionsOptions) => {
    const { extensionsInstall } = await import('./extensions.ts');
    await extensionsInstall(names, options);
  });

extensions
  .command('list')
  .description('What is there, and whether it loads.')
  .option('--config <file>', 'take folder and names from this configuration')
  .option('--directory <folder>', 'the extension folder (default: ./extensions)')
  .action(async (options: ExtensionsOptions) => {
    const { extensionsList } = await import('./extensions.ts');
    await extensionsList(options);
  });

// A reader that went away, as `head` does, is no reason to crash; whoever writes hears of it from the write.
process.stdout.on('error', () => {});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

function report(error: unknown): number {
  // Commander has printed its own: help and version are no failure, everything else is wrong usage.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT.usage;
  const code = error instanceof CliError && error.code !== undefined ? ` ${error.code}` : '';
  process.stderr.write(`error${code}: ${messageOf(error)}\n`);
  return error instanceof CliError ? error.exitCode : EXIT.failed;
}

function asksServer(command: Command): Command {
  return command
    .option('--url <url>', 'the server (default: DUCKCOOP_URL, or http://127.0.0.1:8480)')
    .option('--key-file <file>', 'a file that holds the API key (default: DUCKCOOP_KEY is the key)');
}

/** For people, or for machines. */
function formatOption(forPeople: string): Option {
  return new Option('--format <format>', 'of what is printed')
    .choices([forPeople, 'json'])
    .default(forPeople);
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Expected a whole number.');
  return Number(text);
}

function positiveNumber(text: string): number {
  const value = /^\d{1,6}(\.\d{1,6})?$/.test(text) ? Number(text) : 0;
  if (value === 0) throw new InvalidArgumentError('Expected a number above 0.');
  return value;
}

function commaSeparated(text: string, before: readonly string[] = []): string[] {
  return [...before, ...text.split(',')];
}

function repeated(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}
