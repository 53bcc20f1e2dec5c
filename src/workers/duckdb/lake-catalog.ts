/** What DuckLake attaches its catalog as. It is the whole database of the server that the catalog is in, and nobody's to read. */
export const LAKE_CATALOG = '__ducklake_metadata_';
