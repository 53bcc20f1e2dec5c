/** What the rest of the server asks of queries, over the messages of the router. */
import { Failure } from '../failures.ts';
import { ActorGoneError, type ActorSystem } from './actor.ts';
import type { Directory, Key } from './directory.ts';
import type { CancelOutcome, QueryResult, QueryService } from './query.ts';
import { lostRouter } from './query-failure.ts';
import type { QueryRouterMessage } from './query-router.ts';
import type { QueryTable } from './query-table.ts';

export interface QueryServiceOptions {
  readonly actors: ActorSystem;
  readonly directory: Directory;
  readonly routerKey: Key<QueryRouterMessage>;
  readonly table: QueryTable;
}

export function queryService({ actors, directory, routerKey, table }: QueryServiceOptions): QueryService {
  const ask = async <Reply>(
    request: (reply: (value: Reply) => void) => QueryRouterMessage,
    whenGone: () => Failure,
  ): Promise<Reply> => {
    const router = directory.whereis(routerKey);
    if (router === undefined) throw noRouter();
    try {
      return await actors.ask(router, request);
    } catch (error) {
      throw error instanceof ActorGoneError ? whenGone() : error;
    }
  };
  return {
    run(request, sink, onFeed) {
      const { queryId } = request;
      const submit = (settle: (outcome: QueryResult | Failure) => void): QueryRouterMessage => ({
        type: 'submit',
        request,
        sink,
        onFeed,
        settle,
      });
      // A router that ended had admitted it, perhaps: then it may have begun, and its successor stops it.
      const whenGone = () => (table.find(queryId)?.pending?.request === request ? lostRouter() : noRouter());
      const result = ask(submit, whenGone).then((outcome) => {
        if (outcome instanceof Failure) throw outcome;
        return outcome;
      });
      const cancelledBy = 'the client, which went away';
      const abandon = (by = cancelledBy) => {
        directory.whereis(routerKey)?.tell({ type: 'abandon', request, cancelledBy: by });
      };
      return { queryId, result, abandon };
    },
    async submit(request) {
      const outcome = await ask<QueryResult | Failure | undefined>(
        (reply) => ({ type: 'submit', request, settle: reply, onQueued: () => reply(undefined) }),
        noRouter,
      );
      if (outcome instanceof Failure) throw outcome;
      const record = table.find(request.queryId);
      if (record === undefined) throw noRouter();
      return table.view(record);
    },
    ended: (queryId) =>
      ask<void>((reply) => ({ type: 'await-end', queryId, reply: () => reply() }), noRouter).catch(
        () => undefined,
      ),
    open(queryId, principal) {
      const kept = table.findFor(principal, queryId)?.kept;
      const release = kept?.result.open();
      return kept === undefined || release === undefined ? undefined : { path: kept.result.path, release };
    },
    dropResult(queryId, principal) {
      const result = table.findFor(principal, queryId)?.kept?.result;
      if (result?.state !== 'kept') return false;
      result.drop();
      return true;
    },
    idle: () =>
      ask<void>((reply) => ({ type: 'idle', reply: () => reply() }), noRouter).catch(() => undefined),
    follow(queryId, principal) {
      const record = table.findFor(principal, queryId);
      return record === undefined ? undefined : table.follow(record);
    },
    get(queryId, principal) {
      const record = table.findFor(principal, queryId);
      return record === undefined ? undefined : table.view(record);
    },
    list: (filter, principal) => table.list(filter, principal),
    cancel: (queryId, principal, failure) =>
      ask<CancelOutcome | undefined>(
        (reply) => ({ type: 'cancel', queryId, principal, failure, reply }),
        noRouter,
      ),
  };
}

/** Between two incarnations of the router, or after the last one. */
function noRouter(): Failure {
  return new Failure('SHUTTING_DOWN', 'The server takes no queries at the moment; try again.', {
    retryAfter: 1,
  });
}
