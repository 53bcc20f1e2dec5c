/** What one key of a source says against another; for configured and for inline sources. */
import type { SourceConfig } from './sources.ts';

export interface SourceContradiction {
  readonly key: string;
  readonly message: string;
  /** Other keys that make it one. */
  readonly restsOn: readonly string[];
}

export function* sourceContradictions(source: SourceConfig): Iterable<SourceContradiction> {
  switch (source.kind) {
    case 'postgres':
    case 'mysql':
      yield* certificates(source);
      return;
    case 's3':
      yield* bucketKeys(source);
      yield* viewNames(source.views);
      return;
    case 'http':
    case 'files':
      yield* viewNames(source.views);
      return;
    case 'sqlite':
    case 'duckdb':
    case 'ducklake':
      return;
  }
}

/** Worker processes have no home folder in which the client libraries could find an authority by themselves. */
function* certificates(
  source: Extract<SourceConfig, { kind: 'postgres' | 'mysql' }>,
): Iterable<SourceContradiction> {
  if (source.ssl_mode.startsWith('verify') && source.ssl_ca === undefined) {
    const message = 'expected ssl_ca beside it: there is nothing to verify against';
    yield { key: 'ssl_mode', message, restsOn: ['ssl_ca'] };
  }
  yield* together(source, 'ssl_cert', 'ssl_key');
}

function* bucketKeys(source: Extract<SourceConfig, { kind: 's3' }>): Iterable<SourceContradiction> {
  yield* together(source, 'key_id', 'secret');
  if (source.session_token !== undefined && source.key_id === undefined) {
    yield { key: 'session_token', message: 'expected key_id and secret beside it', restsOn: ['key_id'] };
  }
}

/** Two keys of which neither means anything without the other. */
function* together<Key extends string>(
  source: Readonly<Partial<Record<Key, unknown>>>,
  one: Key,
  other: Key,
): Iterable<SourceContradiction> {
  if ((source[one] === undefined) === (source[other] === undefined)) return;
  const [given, missing] = source[one] === undefined ? ([other, one] as const) : ([one, other] as const);
  yield { key: given, message: `expected ${missing} beside it`, restsOn: [missing] };
}

function* viewNames(views: Readonly<Record<string, unknown>>): Iterable<SourceContradiction> {
  const seen = new Set<string>();
  for (const name of Object.keys(views)) {
    if (seen.has(name.toLowerCase())) {
      yield {
        key: 'views',
        message: `expected names that differ by more than their case: ${name}`,
        restsOn: [],
      };
    }
    seen.add(name.toLowerCase());
  }
}
