/** The credentials that a source is attached with. Known to the API too, which loads no DuckDB. Pure. */
import type { Attachment } from './protocol.ts';

export function attachmentSecrets(
  source: Attachment | { readonly kind: 'file' } | undefined,
): readonly string[] {
  if (source === undefined) return [];
  const secrets: (string | undefined)[] = 'password' in source ? [source.password] : [];
  if (source.kind === 'http') secrets.push(source.bearerToken, ...Object.values(source.headers));
  if (source.kind === 'ducklake') return [source.catalog, source.bucket].flatMap(attachmentSecrets);
  if (source.kind === 's3') secrets.push(source.keyId, source.secret, source.sessionToken);
  return secrets.flatMap((secret) => (secret === undefined || secret === '' ? [] : secret));
}
