/**
 * Exports: results that become files, made by the workers of the pool `exports`, and served by the egress process.
 *
 * ```
 *                       the files are whole          DELETE, or its time is over
 *   queued, running --------------------> succeeded ----------------------------> forgotten, its files removed
 *        |                                                                            ^
 *        +--- failed, or cancelled: the files are removed ---> failed, cancelled -----+
 * ```
 *
 * An export is a query that has the same id, so it waits, runs, is tried again when its worker dies, and is cancelled as any other. What is
 * half-written has another name (`.partial`) and is in no list. Those that have succeeded outlive the server, with what is known of
 * them (manifest.ts).
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../actors/actor.ts';
import type { QueryRequest, QueryResult, QueryService, RunningQuery } from '../actors/query.ts';
import { progressMembers } from '../actors/query-feed.ts';
import type { InlineSource } from '../config/inline-sources.ts';
import type { Config } from '../config/schema.ts';
import { bucketUrl, destinationOf } from '../config/source-urls.ts';
import { Failure, toFailure } from '../failures.ts';
import type { ExportRequest, ExportService, ExportView } from '../http/services.ts';
import { ANONYMOUS, maySeeQueriesOf, type Principal, requireSource } from '../principal.ts';
import { ResultStore } from '../results/result-store.ts';
import { Bucket } from './bucket.ts';
import { adoptExports, type Manifest } from './manifest.ts';
import { BucketPlace, LocalPlace, type Place } from './place.ts';

/** The pool that makes them. */
export const EXPORT_POOL = 'exports';
/** Exports that failed, or were cancelled, and are still told of. */
const KEPT_FAILURES = 1_000;

/** Makes links to files. */
export interface ExportLinks {
  /** Undefined where nobody serves files at the moment. `expiresAt` is in milliseconds since the epoch. */
  sign(exportId: string, path: string, expiresAt: number): string | undefined;
}

export interface ExportsOptions {
  readonly config: () => Pick<Config, 'pools' | 'exports' | 'sources' | 'retry'>;
  readonly dataDir: string;
  readonly clock: Clock;
  readonly queries: Pick<QueryService, 'run' | 'get' | 'cancel'>;
  readonly links: ExportLinks;
  readonly onFault: (error: unknown) => void;
}

type Ended = Pick<
  ExportView,
  'state' | 'finished_at' | 'rows' | 'bytes' | 'attempts' | 'worker' | 'error'
> & { readonly files: Manifest['files'] };

interface Export {
  readonly id: string;
  readonly principal: string;
  readonly about: Pick<
    ExportView,
    'format' | 'compression' | 'partition_by' | 'file_size' | 'tags' | 'created_at'
  >;
  readonly place: Place;
  readonly destination: ExportView['destination'];
  /** Of the query that makes it, or did last. */
  queryId: string;
  /** Attempts before that query's own. */
  earlier: number;
  /** Who does not want it any more. */
  endedBy: string | undefined;
  /** Resolves once it has ended. */
  done: Promise<void>;
  /** Undefined until then. */
  end: Ended | undefined;
}

export class Exports implements ExportService {
  readonly #options: ExportsOptions;
  readonly #store: ResultStore;
  /** Oldest first. */
  readonly #exports = new Map<string, Export>();

  private constructor(options: ExportsOptions, store: ResultStore, adopted: readonly Manifest[]) {
    this.#options = options;
    this.#store = store;
    for (const manifest of adopted.toSorted((one, other) => one.created_at - other.created_at)) {
      this.#exports.set(manifest.export_id, this.#adopted(manifest));
    }
  }

  /** Takes over what former servers have finished, and wipes what they have not. */
  static async open(options: ExportsOptions): Promise<Exports> {
    const { dataDir, clock, onFault, config } = options;
    const adopted: Manifest[] = [];
    const store = await ResultStore.open({
      ...{ dataDir, clock, onFault, folder: 'exports', subject: 'Exports', outlives: true },
      settings: () => config().exports,
      adopt: async (folder, own) => {
        adopted.push(...(await adoptExports(folder, own, Date.now())));
      },
    });
    return new Exports(options, store, adopted);
  }

  /** Where the files are, those of an export in the folder of its id. */
  get folder(): string {
    return this.#store.folder;
  }

  /** Bytes of all files. */
  get usedBytes(): number {
    return this.#store.usedBytes;
  }

  async create(request: ExportRequest, principal: Principal): Promise<ExportView> {
    if (!Object.hasOwn(this.#options.config().pools, EXPORT_POOL)) throw noPool();
    this.#forgetOld();
    const id = `x-${randomUUID()}`;
    const { files, destination, ...asked } = request;
    const place = this.#placeFor(id, request, principal);
    const sources =
      destination.kind === 's3' ? [...new Set([...asked.sources, destination.source])] : asked.sources;
    const query: QueryRequest = {
      ...asked,
      sources,
      queryId: id,
      pool: EXPORT_POOL,
      principal,
      rowFormat: 'arrays',
      output: undefined,
      rowLimit: undefined,
      byteLimit: undefined,
      readOnly: true,
      export: { ...files, folder: place.folder, maxBytes: place.maxBytes },
    };
    const running = await this.#begin(query, place).catch(async (error: unknown) => {
      await place.clear().catch(this.#options.onFault);
      place.close();
      throw error;
    });
    const made: Export = {
      id,
      principal: principal.name,
      about: {
        format: files.format,
        compression: files.compression,
        partition_by: files.partitionBy,
        file_size: files.fileBytes ?? null,
        tags: request.tags,
        created_at: Date.now(),
      },
      ...{ place, destination, queryId: id, earlier: 0, endedBy: undefined },
      done: Promise.resolve(),
      end: undefined,
    };
    made.done = this.#follow(made, query, running);
    this.#exports.set(id, made);
    return this.#view(made);
  }

  list(principal: Principal): ExportView[] {
    this.#forgetOld();
    return [...this.#exports.values()]
      .filter((one) => maySeeQueriesOf(principal, one.principal))
      .reverse()
      .map((one) => this.#view(one));
  }

  get(exportId: string, principal: Principal): ExportView {
    return this.#view(this.#find(exportId, principal));
  }

  async delete(exportId: string, principal: Principal) {
    const one = this.#find(exportId, principal);
    const wasRunning = one.end === undefined;
    one.endedBy ??= principal.name;
    const found = (await this.#options.queries.cancel(one.queryId, principal)) ?? 'already_finished';
    await one.done;
    // Between two attempts there is no query to find; what was ended then is no less cancelled.
    const outcome =
      found === 'already_finished' && wasRunning && one.end?.state === 'cancelled' ? 'cancelled' : found;
    const hadFiles = one.place.remove();
    if (one.end?.state === 'succeeded') this.#exports.delete(exportId);
    return { outcome, files: hadFiles ? 'deleted' : 'none' } as const;
  }

  /** When no worker is there any more. What has succeeded stays for the next server. */
  async close(): Promise<void> {
    await Promise.all([...this.#exports.values()].map(({ done }) => done));
    await this.#store.close();
  }

  #placeFor(id: string, { destination, inline = [] }: ExportRequest, principal: Principal): Place {
    if (destination.kind === 'local') return new LocalPlace(this.#store.begin(id));
    const { source: alias, prefix } = destination;
    requireSource(principal, alias);
    const { sources } = this.#options.config();
    const source = Object.hasOwn(sources, alias) ? sources[alias] : undefined;
    const place = source === undefined ? undefined : destinationOf(source);
    if (source?.kind !== 's3' || place === undefined) throw noBucket(alias);
    if (inline.some((other) => isInTheWay(other, alias, place.url))) throw notApart(alias);
    return new BucketPlace(new Bucket(source), prefix === '' ? id : `${prefix}/${id}`);
  }

  /** Resolves once it waits or runs. */
  async #begin(query: QueryRequest, { sink }: Place): Promise<RunningQuery> {
    return await new Promise((resolve, reject) => {
      const running = this.#options.queries.run(query, sink, () => resolve(running));
      running.result.catch(reject);
    });
  }

  /** Never rejects. */
  async #follow(made: Export, query: QueryRequest, first: RunningQuery): Promise<void> {
    try {
      made.end = await this.#succeeded(made, await this.#madeBy(made, query, first));
    } catch (error) {
      await made.place.clear().catch(this.#options.onFault);
      made.end = this.#failed(made, toFailure(error));
    } finally {
      made.place.close();
    }
  }

  /** What has made it in the end. Where the folder has to be cleared before another attempt, that is begun here. */
  async #madeBy(made: Export, query: QueryRequest, first: RunningQuery): Promise<QueryResult> {
    const { place } = made;
    let running = first;
    for (let attempt = 1; ; attempt += 1) {
      let crash: Failure;
      try {
        const result = await running.result;
        return attempt === 1 ? result : { ...result, stats: { ...result.stats, attempts: attempt } };
      } catch (error) {
        const isLast = place.startsAnew || attempt > this.#options.config().retry.max;
        if (isLast || !(error instanceof Failure) || error.code !== 'WORKER_CRASHED') throw error;
        crash = error;
      }
      await place.clear();
      const queryId = `${made.id}.${attempt + 1}`;
      // One that is not let in is not what became of the export.
      running = await this.#begin({ ...query, queryId }, place).catch(() => {
        throw crash;
      });
      made.queryId = queryId;
      made.earlier = attempt;
      // Whoever ended it meanwhile has found no query to cancel.
      if (made.endedBy !== undefined) running.abandon(made.endedBy);
    }
  }

  /** The files appear with what is known of them. */
  async #succeeded(
    { id, principal, about, place }: Export,
    { rowCount, stats }: QueryResult,
  ): Promise<Ended> {
    const files = [...(await place.files())].sort((one, other) => (one.path < other.path ? -1 : 1));
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    const finished_at = Date.now();
    const { worker, attempts } = stats;
    const known = { finished_at, rows: rowCount, bytes, attempts, worker };
    const expires_at = finished_at + this.#options.config().exports.retention;
    const { partition_by, tags, ...rest } = about;
    const lists = { partition_by: [...partition_by], tags: { ...tags }, files };
    await place.commit({
      version: 1,
      export_id: id,
      principal,
      ...rest,
      ...lists,
      expires_at,
      ...known,
    });
    return { state: 'succeeded', error: null, files, ...known };
  }

  #failed({ id, about, queryId, earlier }: Export, failure: Failure): Ended {
    const view = this.#options.queries.get(queryId, OWNER_OF_ALL);
    return {
      state: failure.code === 'QUERY_CANCELLED' ? 'cancelled' : 'failed',
      finished_at: Math.max(about.created_at, Date.now()),
      rows: null,
      bytes: null,
      attempts: earlier + (view?.attempts ?? 0),
      worker: view?.worker ?? null,
      error: failure.toProblem(id),
      files: [],
    };
  }

  #adopted(manifest: Manifest): Export {
    const {
      export_id: id,
      principal,
      format,
      compression,
      partition_by,
      file_size,
      tags,
      created_at,
    } = manifest;
    const { finished_at, rows, bytes, attempts, worker, files, expires_at } = manifest;
    return {
      ...{ id, principal, done: Promise.resolve() },
      about: { format, compression, partition_by, file_size, tags, created_at },
      ...{
        place: new LocalPlace(this.#store.adopt(id, bytes, expires_at)),
        queryId: id,
        earlier: 0,
        endedBy: undefined,
      },
      destination: { kind: 'local' },
      end: { state: 'succeeded', finished_at, rows, bytes, attempts, worker, error: null, files },
    };
  }

  #find(exportId: string, principal: Principal): Export {
    this.#forgetOld();
    const one = this.#exports.get(exportId);
    if (one !== undefined && maySeeQueriesOf(principal, one.principal)) return one;
    throw new Failure(
      'NOT_FOUND',
      `There is no export ${JSON.stringify(exportId)}: it was deleted, its time is over, or it never was.`,
    );
  }

  #forgetOld(): void {
    const now = Date.now();
    const { retention } = this.#options.config().exports;
    let failures = 0;
    for (const { id, end, place } of [...this.#exports.values()].reverse()) {
      if (end === undefined) continue;
      const isFailure = end.state !== 'succeeded';
      if (isFailure) failures += 1;
      const isOver = isFailure
        ? failures > KEPT_FAILURES || (end.finished_at ?? 0) + retention < now
        : !place.isThere || (place.expiresAt === undefined && (end.finished_at ?? 0) + retention < now);
      if (isOver) this.#exports.delete(id);
    }
  }

  #view(one: Export): ExportView {
    const { id, principal, about, place, end, destination, queryId, earlier } = one;
    const query = end === undefined ? this.#options.queries.get(queryId, OWNER_OF_ALL) : undefined;
    const { files, ...ended } = end ?? {
      // Its query may have succeeded a moment before its files are in place.
      state: query?.state === 'queued' ? ('queued' as const) : ('running' as const),
      finished_at: null,
      rows: null,
      bytes: null,
      attempts: earlier + (query?.attempts ?? 0),
      worker: query?.worker ?? null,
      error: null,
      files: [],
    };
    return {
      export_id: id,
      principal,
      ...about,
      destination,
      expires_at: place.expiresAt ?? null,
      ...ended,
      progress: query?.progress === undefined ? null : progressMembers(query.progress),
      files: files.map((file) => ({ ...file, ...this.#link(one, file.path) })),
    };
  }

  #link({ id, place }: Export, path: string): Pick<ExportView['files'][number], 'url' | 'url_expires_at'> {
    // In a bucket they are its owner's to serve.
    if (place.expiresAt === undefined) return { url: null, url_expires_at: null };
    const until = Math.min(Date.now() + this.#options.config().exports.link_ttl, place.expiresAt);
    const url = this.#options.links.sign(id, path, until);
    return url === undefined ? { url: null, url_expires_at: null } : { url, url_expires_at: until };
  }
}

/** Whose exports they are is looked at before. */
const OWNER_OF_ALL: Principal = { ...ANONYMOUS, name: '' };

function noPool(): Failure {
  const message = 'this server makes no exports: an operator adds a pool named exports to its configuration';
  return new Failure('INVALID_REQUEST', message, { members: { errors: [{ path: '', message }] } });
}

/** To DuckDB it would be the destination, or a part of it, and the longer prefix counts. */
function isInTheWay({ alias, source }: InlineSource, destination: string, url: string): boolean {
  if (alias.toLowerCase() === destination.toLowerCase()) return true;
  return source.kind === 's3' && bucketUrl(source).startsWith(url);
}

function notApart(alias: string): Failure {
  return invalidDestination(
    `an inline source has the name of ${JSON.stringify(alias)}, or a part of its bucket`,
  );
}

function noBucket(alias: string): Failure {
  return invalidDestination(
    `${JSON.stringify(alias)} is no source of kind s3 that may be written to (read_only: false)`,
  );
}

function invalidDestination(message: string): Failure {
  const errors = [{ path: 'destination.source', message }];
  return new Failure('INVALID_REQUEST', `destination.source: ${message}`, { members: { errors } });
}
