/** A folder of files: a view for each of them, and for each folder of equal ones. */
import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { Attachment } from '../protocol.ts';
import { readDuckDBError } from './duckdb-error.ts';
import { createView, isNamedIn, readerOf, type SourceView } from './file-views.ts';
import { globLiteral } from './quote.ts';
import { unavailable } from './source-failure.ts';

/** Past this many, only the views that the statement names are made. */
const EAGER_VIEWS = 50;

interface FileView extends SourceView {
  /** What it is called where another view has the same name. */
  readonly fullName: string;
}

type Folder = Extract<Attachment, { kind: 'files' }>;

/** Makes its views: where there are many only those that `sql` names, if there is one. */
export async function attachFolder(
  connection: DuckDBConnection,
  source: Folder,
  sql: string | undefined,
): Promise<void> {
  const root = await realpath(source.path).catch((error: NodeJS.ErrnoException) => {
    throw unavailable(source, `the folder cannot be read (${error.code})`);
  });
  const found = await viewsOf(root).catch((error: NodeJS.ErrnoException) => {
    throw unavailable(source, `the folder cannot be read (${error.code})`);
  });
  const views = [...source.views.map((view) => configuredView(root, source, view)), ...found];
  for (const view of views) {
    const named = sql !== undefined && isNamedIn(sql, view.name);
    if (!named && sql !== undefined && views.length > EAGER_VIEWS) continue;
    try {
      await createView(connection, source.alias, view);
    } catch (error) {
      // A broken file matters to the statement that names it and to no other.
      if (named || readDuckDBError(error).type === 'INTERRUPT') throw error;
    }
  }
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

function stem(name: string): string {
  return name.replace(/\.(?:parquet|csv|tsv|jsonl?|ndjson)(?:\.gz)?$/i, '');
}
