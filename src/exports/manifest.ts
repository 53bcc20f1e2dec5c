/** What is known of an export that has succeeded, beside its files: so that the next server knows it too. */
import { writeFileSync } from 'node:fs';
import { readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

/** Beside the data, and no part of it: no link leads there. */
const FILE = '.manifest.json';

export const EXPORT_ID = /^x-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const count = z.number().int().nonnegative();

const manifestSchema = z.object({
  version: z.literal(1),
  export_id: z.string().regex(EXPORT_ID),
  /** The name of whoever asked for it. */
  principal: z.string(),
  format: z.enum(['parquet', 'csv', 'ndjson']),
  compression: z.enum(['none', 'gzip', 'zstd', 'snappy', 'lz4']),
  partition_by: z.array(z.string()),
  file_size: count.nullable(),
  tags: z.record(z.string(), z.string()),
  created_at: count,
  finished_at: count,
  expires_at: count,
  rows: count,
  bytes: count,
  attempts: count,
  worker: z.string(),
  files: z.array(z.object({ path: z.string(), bytes: count })),
});
export type Manifest = z.infer<typeof manifestSchema>;

/** Into the folder of the export. */
export function writeManifest(folder: string, manifest: Manifest): void {
  writeFileSync(join(folder, FILE), JSON.stringify(manifest), { mode: 0o600 });
}

/**
 * Moves what is whole, and whose time is not over at `now`, from the folder of a server that is gone to `own`. Returns what is known of it;
 * anything else stays where it is.
 */
export async function adoptExports(folder: string, own: string, now: number): Promise<Manifest[]> {
  const adopted: Manifest[] = [];
  for (const name of await readdir(folder)) {
    if (!EXPORT_ID.test(name)) continue;
    const manifest = await readManifest(join(folder, name));
    if (manifest?.export_id !== name || manifest.expires_at <= now) continue;
    await rename(join(folder, name), join(own, name));
    adopted.push(manifest);
  }
  return adopted;
}

async function readManifest(folder: string): Promise<Manifest | undefined> {
  try {
    return manifestSchema.parse(JSON.parse(await readFile(join(folder, FILE), 'utf8')));
  } catch {
    // Of a server that was killed in mid-write, or of another version.
    return undefined;
  }
}
