/** What `duckcoop query --format` takes: the server's formats, and a table made here of its JSON. */
export const FORMATS = ['table', 'json', 'ndjson', 'csv', 'arrow', 'parquet'] as const;
export type OutputFormat = (typeof FORMATS)[number];

/** What `duckcoop queries --state` takes. */
export const QUERY_STATES = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;
/** What exports are written in. */
export const EXPORT_FORMATS = ['parquet', 'csv', 'ndjson'] as const;
