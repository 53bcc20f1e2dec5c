/**
 * Which paths of object storage and of web servers a statement may name. DuckDB compares a path with the folders that it leaves
 * open as text, and then others read it in their own way: `s3://lake/in/../out` begins like `s3://lake/in/`, `?s3_endpoint=` sends
 * the keys of a source to somebody else, and a web server decodes `%2e%2e`. So a path is read only where there is one way
 * to read it. Pure.
 */

/** What a path must begin with, up to and with the `/`: `s3://bucket/prefix/`, `https://host/folder/`. */
export type RemotePrefix = string;

/** Any scheme but that of local files, which DuckDB's own lock is about. */
const SCHEME = /^(?!file:)[a-z][a-z0-9+.-]*:\/\//i;
/** Read as something else than a character of a name: by DuckDB, by a URL, by a terminal. */
const SPECIAL = /[\p{Cc}\\?#]/u;
/** Nobody decodes more often than this and means it. */
const MAX_DECODED = 8;

export function isRemotePath(path: string): boolean {
  return SCHEME.test(path);
}

/**
 * Why a remote path, or glob, may not be read; undefined where it may. Without `prefixes` any source may turn out to have
 * it, and only its form is looked at.
 */
export function remotePathProblem(
  path: string,
  prefixes: readonly RemotePrefix[] | undefined,
): string | undefined {
  const prefix = prefixes === undefined ? authorityOf(path) : prefixes.find((each) => path.startsWith(each));
  if (prefix === undefined) return 'it is below none of the sources';
  return plainPathProblem(path.slice(prefix.length), { decoded: /^https?:/.test(prefix) });
}

/**
 * Why what is below a prefix may be read in more than one way; undefined where it may not. `decoded`: whoever gets it takes
 * `%2e` for `.`, as web servers do; object storage is sent `%252e`.
 */
export function plainPathProblem(
  path: string,
  { decoded }: { readonly decoded: boolean },
): string | undefined {
  if (SPECIAL.test(path)) return 'it has a ?, a #, a \\ or a control character in it';
  let text = path;
  for (let times = 0; times < MAX_DECODED; times += 1) {
    if (text.split(/[/\\]/).some(isDots)) return 'a part of it is . or ..';
    const next = decode(text);
    if (next === undefined) return decoded ? 'a % in it is no percent-encoding' : undefined;
    if (next === text) return undefined;
    if (decoded && (SPECIAL.test(next) || count(next) !== count(text)))
      return 'it has an encoded /, \\, ?, # or control character in it';
    text = next;
  }
  return 'it is percent-encoded too often';
}

/** Also with what some take off before they look: a parameter, or space at the end. */
function isDots(part: string): boolean {
  return /^[\s.]*\.[\s.]*(?:;.*)?$/s.test(part);
}

function count(text: string): number {
  return text.split('/').length;
}

/** Undefined where it is none, or none of UTF-8. */
function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** The scheme and the host or bucket. */
function authorityOf(path: string): string | undefined {
  return /^[a-z][a-z0-9+.-]*:\/\/[^/?#\\]+\//i.exec(path)?.[0];
}
