/** The chunks of a result, one after the other, up to its end, its failure, or to where nobody wants more of it. */
import { type DuckDBDataChunk, DuckDBMaterializedResult, type DuckDBResult } from '@duckdb/node-api';
import { hasFailed } from './statement.ts';

export interface ChunkSource {
  /** Throws when the statement has been interrupted. */
  readonly checkpoint: () => void;
  /** What to throw where the result has failed on its way. */
  readonly failure: () => Promise<unknown>;
  /** Ends a result that is not read to its end. */
  readonly abandon: (result: DuckDBResult) => Promise<void>;
}

export interface Chunks {
  /** Null after the last one. */
  next(): Promise<DuckDBDataChunk | null>;
  /** To be called in the end, whatever happened: has DuckDB let go of what it holds of the result. */
  end(): Promise<void>;
}

export function chunksOf(result: DuckDBResult, source: ChunkSource): Chunks {
  if (result instanceof DuckDBMaterializedResult) return wholeChunks(result);
  let ended = false;
  return {
    async next() {
      const chunk = await result.fetchChunk();
      ended = chunk === null || chunk.rowCount === 0;
      if (!ended) return chunk;
      source.checkpoint();
      if (hasFailed(result)) throw await source.failure();
      return null;
    },
    async end() {
      if (!ended) await source.abandon(result);
    },
  };
}

function wholeChunks(result: DuckDBMaterializedResult): Chunks {
  let index = 0;
  return {
    async next() {
      const chunk = index < result.chunkCount ? result.getChunk(index) : null;
      index += 1;
      return chunk;
    },
    end: () => Promise.resolve(),
  };
}
