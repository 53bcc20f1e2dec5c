/** A bucket that exports are written to, as the API process uses it: it lists, deletes, and says when an export is whole. Workers write. */
import { readFile } from 'node:fs/promises';
import { Agent } from 'node:https';
import type { S3Client } from '@aws-sdk/client-s3';
import { bucketUrl } from '../config/source-urls.ts';
import type { S3Source } from '../config/sources.ts';

export interface BucketFile {
  /** Below the folder that was listed. */
  readonly path: string;
  readonly bytes: number;
}

/** Milliseconds; a bucket that is silent holds up neither an export for ever nor the end of the server. */
const CONNECT_MS = 3_000;
const ANSWER_MS = 10_000;
/** Keys that one request deletes at most (S3 API, DeleteObjects). */
const BATCH = 1_000;

export class Bucket {
  readonly #source: S3Source;
  #client: S3Client | undefined;

  constructor(source: S3Source) {
    this.#source = source;
  }

  /** Of a folder below the source's prefix; ends without a slash. */
  urlOf(folder: string): string {
    return `${bucketUrl(this.#source)}${folder}`;
  }

  async list(folder: string): Promise<BucketFile[]> {
    const { ListObjectsV2Command } = await import('@aws-sdk/client-s3');
    const client = await this.#open();
    const prefix = `${this.#keyOf(folder)}/`;
    const files: BucketFile[] = [];
    let next: string | undefined;
    do {
      const page = await client.send(
        new ListObjectsV2Command({ Bucket: this.#source.bucket, Prefix: prefix, ContinuationToken: next }),
      );
      for (const { Key = '', Size = 0 } of page.Contents ?? [])
        files.push({ path: Key.slice(prefix.length), bytes: Size });
      next = page.NextContinuationToken;
    } while (next !== undefined);
    return files;
  }

  /** Deletes all that is in a folder. */
  async clear(folder: string): Promise<void> {
    const { DeleteObjectsCommand } = await import('@aws-sdk/client-s3');
    const client = await this.#open();
    const keys = (await this.list(folder)).map(({ path }) => ({ Key: `${this.#keyOf(folder)}/${path}` }));
    for (let start = 0; start < keys.length; start += BATCH) {
      const Delete = { Objects: keys.slice(start, start + BATCH), Quiet: true };
      const { Errors = [] } = await client.send(
        new DeleteObjectsCommand({ Bucket: this.#source.bucket, Delete }),
      );
      const [first] = Errors;
      if (first !== undefined) throw new Error(`${first.Key} could not be deleted: ${first.Message}`);
    }
  }

  async put(folder: string, name: string, text: string): Promise<void> {
    const { PutObjectCommand } = await import('@aws-sdk/client-s3');
    const client = await this.#open();
    const Key = `${this.#keyOf(folder)}/${name}`;
    await client.send(new PutObjectCommand({ Bucket: this.#source.bucket, Key, Body: text }));
  }

  close(): void {
    this.#client?.destroy();
  }

  #keyOf(folder: string): string {
    return this.urlOf(folder).slice(`s3://${this.#source.bucket}/`.length);
  }

  /** The package is loaded by the first export that needs it: a quarter of a second, and 24 MB. */
  async #open(): Promise<S3Client> {
    if (this.#client !== undefined) return this.#client;
    const { S3Client } = await import('@aws-sdk/client-s3');
    const { endpoint, region, key_id, secret, session_token, use_ssl, url_style, ssl_ca } = this.#source;
    const credentials =
      key_id === undefined || secret === undefined
        ? undefined
        : {
            accessKeyId: key_id.reveal(),
            secretAccessKey: secret.reveal(),
            ...(session_token === undefined ? {} : { sessionToken: session_token.reveal() }),
          };
    this.#client = new S3Client({
      region,
      forcePathStyle: url_style === 'path',
      ...(endpoint === undefined ? {} : { endpoint: `${use_ssl ? 'https' : 'http'}://${endpoint}` }),
      // What some servers do not know is sent where a request needs it, and only there.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: CONNECT_MS,
        requestTimeout: ANSWER_MS,
        ...(ssl_ca === undefined ? {} : { httpsAgent: new Agent({ ca: await readFile(ssl_ca) }) }),
      },
      // Never what the environment of the server or its machine may offer.
      ...(credentials === undefined ? { signer: { sign: async (request) => request } } : { credentials }),
    });
    return this.#client;
  }
}
