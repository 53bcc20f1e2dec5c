/**
 * Sources attached to an instance that still has its doors open, before any statement of a user runs on it.
 *
 * Credentials go into a temporary secret that is dropped as soon as the source is attached, never into a connection
 * string: `duckdb_databases()` and error texts show those.
 */
import type { Dirent } from 'node:fs';
import { access, constants, readdir, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Attachment } from '../protocol.ts';
import { readDuckDBError } from './duckdb-error.ts';
import { Refusal } from './refusal.ts';
import { type Server, settingsOf, sourceFailure, unavailable, withoutSecrets } from './source-failure.ts';

/**
 * Attaches one source. `sql` is the text that will run: a folder of many files becomes views only as far as it names them. They are a
 * schema of the database in use, or a database of their own in memory.
 */
export async function attach(
  connection: DuckDBConnection,
  source: Attachment,
  sql: string,
  views: 'schema' | 'database' = 'schema',
): Promise<void> {
  try {
    switch (source.kind) {
      case 'postgres':
      case 'mysql':
        await attachServer(connection, source);
        return;
      case 'sqlite':
        // SQLite makes a file that is not there, and does so only when it is first read from.
        await access(source.path, constants.R_OK).catch((error: NodeJS.ErrnoException) => {
          throw unavailable(source, `the file cannot be read (${error.code})`);
        });
        await connection.run(
          `ATTACH ${literal(source.path)} AS ${identifier(source.alias)} (TYPE sqlite${source.readOnly ? ', READ_ONLY' : ''})`,
        );
        return;
      case 'files':
        await connection.run(
          views === 'schema'
            ? `CREATE SCHEMA ${identifier(source.alias)}`
            : `ATTACH ':memory:' AS ${identifier(source.alias)}`,
        );
        await attachFolder(connection, source, sql);
        return;
      default:
        source satisfies never;
    }
  } catch (error) {
    if (error instanceof Refusal) throw error;
    const info = readDuckDBError(error);
    if (info.type === 'INTERRUPT') throw error;
    throw sourceFailure(info, [source]) ?? unavailable(source, withoutSecrets(info.message, [source]));
  }
}

async function attachServer(connection: DuckDBConnection, source: Server): Promise<void> {
  const secret = identifier(`duckcoop_${source.alias}`);
  const fields = [
    `TYPE ${source.kind}`,
    `HOST ${literal(source.host)}`,
    `PORT ${source.port}`,
    ...(source.user === undefined ? [] : [`USER ${literal(source.user)}`]),
    ...(source.password === undefined ? [] : [`PASSWORD ${literal(source.password)}`]),
    ...(source.database === undefined ? [] : [`DATABASE ${literal(source.database)}`]),
  ];
  await connection.run(`CREATE TEMPORARY SECRET ${secret} (${fields.join(', ')})`);
  await connection.run(
    `ATTACH ${literal(settingsOf(source))} AS ${identifier(source.alias)} (TYPE ${source.kind}, SECRET ${secret}${source.readOnly ? ', READ_ONLY' : ''})`,
  );
  await connection.run(`DROP SECRET ${secret}`);
}

/**
 * Scanners trust the catalog they have read, and crash on, or misread, a table that was changed since: what is kept attached
 * forgets it before each use.
 */
export async function refreshCatalogs(
  connection: DuckDBConnection,
  attachments: readonly Attachment[],
): Promise<void> {
  const kinds = new Set(attachments.map(({ kind }) => kind));
  // In a transaction that has failed nothing is answered; and nothing is read then either.
  if (kinds.has('postgres')) await connection.run('CALL pg_clear_cache()').catch(() => undefined);
  if (kinds.has('mysql')) await connection.run('CALL mysql_clear_cache()').catch(() => undefined);
}

/** Readers of the files a folder may hold, by the end of their names. */
const READERS: readonly (readonly [RegExp, string])[] = [
  [/\.parquet$/i, 'read_parquet'],
  [/\.(?:csv|tsv)(?:\.gz)?$/i, 'read_csv'],
  [/\.(?:json|jsonl|ndjson)(?:\.gz)?$/i, 'read_json'],
];

/** Past this many, only the views that the statement names are made. */
const EAGER_VIEWS = 50;

interface FileView {
  readonly name: string;
  /** What it is called where another view has the same name. */
  readonly fullName: string;
  /** What its reader takes: a glob, or the paths themselves. */
  readonly files: string | readonly string[];
  readonly reader: string;
}

type Folder = Extract<Attachment, { kind: 'files' }>;

async function attachFolder(connection: DuckDBConnection, source: Folder, sql: string): Promise<void> {
  const root = await realpath(source.path).catch((error: NodeJS.ErrnoException) => {
    throw unavailable(source, `the folder cannot be read (${error.code})`);
  });
  const found = await viewsOf(root).catch((error: NodeJS.ErrnoException) => {
    throw unavailable(source, `the folder cannot be read (${error.code})`);
  });
  const schema = identifier(source.alias);
  const views = [...source.views.map((view) => configuredView(root, source, view)), ...found];
  for (const view of views) {
    const named = names(sql, view.name);
    if (!named && views.length > EAGER_VIEWS) continue;
    const files =
      typeof view.files === 'string' ? literal(view.files) : `[${view.files.map(literal).join(', ')}]`;
    try {
      await connection.run(
        `CREATE VIEW IF NOT EXISTS ${schema}.${identifier(view.name)} AS SELECT * FROM ${view.reader}(${files})`,
      );
    } catch (error) {
      // A broken file matters to the statement that names it and to no other.
      if (named || readDuckDBError(error).type === 'INTERRUPT') throw error;
    }
  }
}

/** Whether the statement may mean the view: its text has the name in it, and not as a part of a longer one. */
function names(sql: string, view: string): boolean {
  const name = view.replaceAll('"', '""').replace(/[\^$\\.*+?()[\]{}|/]/g, '\\$&');
  return new RegExp(`(?<![\\p{L}\\p{N}_])${name}(?![\\p{L}\\p{N}_])`, 'iu').test(sql);
}

function configuredView(root: string, source: Folder, view: Folder['views'][number]): FileView {
  const { name, path, format } = view;
  const reader = format === undefined ? readerOf(path) : `read_${format}`;
  if (reader === undefined)
    throw unavailable(source, `the view ${name} needs a format: its path ${path} does not tell`);
  return { name, fullName: name, files: `${globLiteral(root)}/${path}`, reader };
}

/** A view for each file, and for each folder whose files are of one kind; links that lead out of the root are none. */
async function viewsOf(root: string): Promise<FileView[]> {
  const views: FileView[] = [];
  const entries = await readdir(root, { withFileTypes: true });
  for (const { name } of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(root, name);
    const kind = await kindInside(root, path);
    if (kind === 'folder') {
      const folder = await folderView(root, path);
      if (folder !== undefined) views.push(folder);
    } else if (kind === 'file') {
      const reader = readerOf(name);
      if (reader !== undefined)
        views.push({ name: stem(name), fullName: name, files: globLiteral(path), reader });
    }
  }
  return withUniqueNames(views);
}

/** What a path leads to; undefined where that is outside of the root, or nothing to read. */
async function kindInside(root: string, path: string): Promise<'file' | 'folder' | undefined> {
  try {
    const real = await realpath(path);
    if (!real.startsWith(`${root}/`)) return undefined;
    const found = await stat(real);
    return found.isFile() ? 'file' : found.isDirectory() ? 'folder' : undefined;
  } catch {
    return undefined;
  }
}

async function folderView(root: string, path: string): Promise<FileView | undefined> {
  const entries = await readdir(path, { withFileTypes: true, recursive: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile());
  const links = entries.filter((entry) => entry.isSymbolicLink()).map(pathOf);
  const endings = new Set(files.map((file) => /\.[a-z]+(?:\.gz)?$/i.exec(file.name)?.[0] ?? ''));
  const [ending] = endings;
  const reader = endings.size === 1 && ending !== undefined ? readerOf(ending) : undefined;
  if (reader === undefined) return undefined;
  const view = { name: basename(path), fullName: `${basename(path)}/`, reader };
  if (links.length === 0) return { ...view, files: `${globLiteral(path)}/**/*${ending}` };
  // A glob would follow them all.
  const inside = await Promise.all(links.map(async (link) => (await kindInside(root, link)) === 'file'));
  const linked = links.filter((link, index) => inside[index] && readerOf(link) === reader);
  return { ...view, files: [...files.map(pathOf), ...linked].sort().map(globLiteral) };
}

function pathOf(entry: Dirent): string {
  return join(entry.parentPath, entry.name);
}

/** Where `orders.csv` and `orders.parquet` both would be `orders`, each goes by its whole name. */
function withUniqueNames(views: readonly FileView[]): FileView[] {
  const key = (view: FileView) => view.name.toLowerCase();
  return views.map((view) =>
    views.some((other) => other !== view && key(other) === key(view))
      ? { ...view, name: view.fullName }
      : view,
  );
}

function readerOf(name: string): string | undefined {
  return READERS.find(([ending]) => ending.test(name))?.[1];
}

function stem(name: string): string {
  return name.replace(/\.(?:parquet|csv|tsv|jsonl?|ndjson)(?:\.gz)?$/i, '');
}

/** A path in which DuckDB's glob finds nothing to expand. */
export function globLiteral(path: string): string {
  return path.replace(/[*?[]/g, '[$&]');
}

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
