/** Texts and names as they stand in SQL. */

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A path in which DuckDB's glob finds nothing to expand. */
export function globLiteral(path: string): string {
  return path.replace(/[*?[]/g, '[$&]');
}
