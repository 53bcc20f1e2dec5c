/** The checker of `duckcoop chaos`: it accepts what is documented, and finds what is not. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkReply, type Expectation, type HttpReply } from '../../src/cli/chaos/contract.ts';
import { FAILURE_KINDS, Failure, type FailureCode } from '../../src/failures.ts';

const ALL = Object.keys(FAILURE_KINDS) as FailureCode[];

const expectation: Expectation = {
  queryId: 'q-1',
  pool: 'interactive',
  result: {
    columns: [
      { name: 'q17', type: 'BIGINT' },
      { name: 't', type: 'VARCHAR' },
    ],
    rows: 3,
    row: (index) => [index, `duck ${index}`],
    truncated: false,
  },
  codes: new Set(ALL),
  timeoutMs: 300,
  queueTimeoutMs: 400,
  maxAttempts: 2,
};

const SUCCESS = {
  query_id: 'q-1',
  columns: [
    { name: 'q17', type: 'BIGINT' },
    { name: 't', type: 'VARCHAR' },
  ],
  data: [
    [0, 'duck 0'],
    [1, 'duck 1'],
    [2, 'duck 2'],
  ],
  row_count: 3,
  truncated: false,
  stats: {
    ...{ queue_ms: 0, run_ms: 1, total_ms: 2, rows: 3, bytes: 40, peak_memory_bytes: 1_000 },
    ...{ worker: 'interactive-1', attempts: 1 },
  },
};

/** What the server puts beside the members that every problem has. */
const MEMBERS: Partial<Record<FailureCode, Record<string, unknown>>> = {
  INVALID_REQUEST: { errors: [{ path: '', message: 'is missing' }] },
  SQL_ERROR: { duckdb: { type: 'Parser', subtype: null, position: 3, line: 1 } },
  FORBIDDEN: { denied: { kind: 'endpoint', name: '/metrics' } },
  QUERY_CANCELLED: { cancelled_by: 'anonymous' },
  PAYLOAD_TOO_LARGE: { limit: 10 },
  MEMORY_LIMIT: { limit: 10, used: 20 },
  DISK_LIMIT: { limit: 10, used: 20 },
  RESULT_TOO_LARGE: { limit: 10, used: 20 },
  QUERY_QUARANTINED: { crash_ids: ['c1', 'c2'], until: 1_700_000_000_000 },
  WORKER_CRASHED: {
    worker: {
      ...{ id: 'interactive-1', incarnation: 3, pid: 42 },
      ...{ signal: 'SIGSEGV', exit_code: null, phase: 'running' },
    },
    ...{ cause: 'crash', crash_id: 'c1', attempts: 2 },
  },
  SOURCE_UNAVAILABLE: { source: 'shop' },
  POOL_DOWN: { pool: 'interactive' },
  QUERY_TIMEOUT: { limit_ms: 300 },
  QUEUE_TIMEOUT: { limit_ms: 400 },
};
const RETRY_AFTER: readonly FailureCode[] = [
  ...(['QUOTA_EXCEEDED', 'CRASH_BUDGET_EXCEEDED', 'POOL_DOWN', 'OVERLOADED', 'SHUTTING_DOWN'] as const),
];

function success(change: Readonly<Record<string, unknown>> = {}): HttpReply {
  return {
    status: 200,
    headers: { 'content-type': 'application/json', 'x-query-id': 'q-1' },
    body: JSON.stringify({ ...SUCCESS, ...change }),
    ms: 500,
  };
}

/** As the server would build it. */
function problem(
  code: FailureCode,
  change: (document: Record<string, unknown>) => void = () => {},
): HttpReply {
  const members = MEMBERS[code] ?? {};
  const retry = RETRY_AFTER.includes(code) ? { retryAfter: 1 } : {};
  const failure = new Failure(code, 'It is told what happened.', { members, ...retry });
  const document = structuredClone(failure.toProblem('q-1'));
  change(document);
  return {
    status: failure.status,
    headers: {
      ...{ 'content-type': 'application/problem+json', 'x-query-id': 'q-1' },
      ...(failure.headers['Retry-After'] !== undefined && { 'retry-after': failure.headers['Retry-After'] }),
    },
    body: JSON.stringify(document),
    ms: 500,
  };
}

const wrongIn = (reply: HttpReply, change: Partial<Expectation> = {}) =>
  checkReply(reply, { ...expectation, ...change }).wrong;

describe('of a success', () => {
  it('the right result is accepted, and members that are new', () => {
    expect(checkReply(success(), expectation)).toEqual({ outcome: 'succeeded', wrong: [] });
    expect(wrongIn(success({ new_member: 1, stats: { ...SUCCESS.stats, new_member: 1 } }))).toEqual([]);
  });

  it('any other cell, row more or row less is found', () => {
    const rows = SUCCESS.data.length;
    const cell = fc.tuple(fc.nat(rows - 1), fc.nat(1), fc.jsonValue());
    fc.assert(
      fc.property(cell, ([row, column, value]) => {
        const data = structuredClone(SUCCESS.data) as unknown[][];
        fc.pre(data[row]?.[column] !== value);
        (data[row] as unknown[])[column] = value;
        expect(wrongIn(success({ data }))).not.toEqual([]);
      }),
    );
    const less = SUCCESS.data.slice(1);
    expect(wrongIn(success({ data: less, row_count: 2, stats: { ...SUCCESS.stats, rows: 2 } }))).not.toEqual(
      [],
    );
    const more = [...SUCCESS.data, [3, 'duck 3']];
    expect(wrongIn(success({ data: more, row_count: 4, stats: { ...SUCCESS.stats, rows: 4 } }))).not.toEqual(
      [],
    );
  });

  it('a member that is missing or another is found', () => {
    for (const name of Object.keys(SUCCESS)) {
      expect(wrongIn(success({ [name]: undefined })), name).not.toEqual([]);
      expect(wrongIn(success({ [name]: 'other' })), name).not.toEqual([]);
    }
    for (const name of Object.keys(SUCCESS.stats)) {
      const stats = { ...SUCCESS.stats, [name]: undefined };
      expect(wrongIn(success({ stats })), name).not.toEqual([]);
    }
    for (const stats of [{ attempts: 3 }, { attempts: 0 }, { worker: 'exports-1' }, { rows: 4 }]) {
      expect(wrongIn(success({ stats: { ...SUCCESS.stats, ...stats } }))).not.toEqual([]);
    }
    expect(wrongIn(success({ truncated: true }))).not.toEqual([]);
    expect(wrongIn(success(), { result: undefined })).toEqual(['it succeeded, and cannot have']);
  });
});

describe.each(ALL)('of the failure %s', (code) => {
  it('the documented reply is accepted', () => {
    expect(checkReply(problem(code), expectation)).toEqual({ outcome: code, wrong: [] });
  });

  it('is found when the request cannot have earned it', () => {
    expect(wrongIn(problem(code), { codes: new Set() })).toEqual([`it cannot have earned ${code}`]);
  });

  it('another status, another retryable and a member that is missing are found', () => {
    const reply = problem(code);
    for (const status of [400, 418, 500, 502, 503].filter((other) => other !== reply.status)) {
      expect(wrongIn({ ...reply, status })).not.toEqual([]);
    }
    const flipped = problem(code, (document) => {
      document.retryable = document.retryable !== true;
    });
    expect(wrongIn(flipped)).not.toEqual([]);
    for (const name of Object.keys(JSON.parse(reply.body))) {
      const without = problem(code, (document) => delete document[name]);
      expect(wrongIn(without), name).not.toEqual([]);
    }
    if (!RETRY_AFTER.includes(code)) return;
    for (const header of [undefined, '', '0', '1.5', 'soon']) {
      expect(wrongIn({ ...reply, headers: { ...reply.headers, 'retry-after': header } })).not.toEqual([]);
    }
  });
});

describe('of any reply', () => {
  it('an empty one, and one that is no JSON object, is found', () => {
    for (const body of ['', '[]', '"text"', '{"query_id":"q-1","data":[[1', '<html>']) {
      const found = checkReply({ ...success(), body }, expectation);
      expect(found.outcome).toBe('unknown');
      expect(found.wrong).toHaveLength(1);
    }
  });

  it('another content type, and the id of another query, is found', () => {
    for (const reply of [success(), problem('WORKER_CRASHED')]) {
      expect(wrongIn({ ...reply, headers: { ...reply.headers, 'content-type': 'text/html' } })).toHaveLength(
        1,
      );
      expect(wrongIn({ ...reply, headers: { ...reply.headers, 'x-query-id': 'q-2' } })).toHaveLength(1);
    }
    expect(wrongIn(success({ query_id: 'q-2' }))).toHaveLength(1);
  });

  it('a code that nobody documented is found', () => {
    const others = fc.string().filter((code) => !ALL.some((known) => known === code));
    fc.assert(
      fc.property(others, (code) => {
        const reply = problem('INTERNAL', (document) => {
          document.code = code;
        });
        expect(wrongIn(reply).join()).toContain('is not documented');
      }),
    );
  });

  it('a worker that is said to have died in no known way or phase is found', () => {
    for (const change of [{ phase: 'dreaming' }, { incarnation: 0 }, { pid: 'x' }, { signal: '' }]) {
      const reply = problem('WORKER_CRASHED', (document) => Object.assign(document.worker as object, change));
      expect(wrongIn(reply)).toHaveLength(1);
    }
    for (const change of [{ cause: 'recycled' }, { crash_id: '' }, { attempts: 0 }, { attempts: 3 }]) {
      const reply = problem('WORKER_CRASHED', (document) => Object.assign(document, change));
      expect(wrongIn(reply)).toHaveLength(1);
    }
  });

  it('a timeout that comes too early, or by another limit, is found', () => {
    expect(wrongIn({ ...problem('QUERY_TIMEOUT'), ms: 250 })).toEqual(['QUERY_TIMEOUT after 250 of 300 ms']);
    expect(wrongIn({ ...problem('QUEUE_TIMEOUT'), ms: 350 })).toEqual(['QUEUE_TIMEOUT after 350 of 400 ms']);
    expect(wrongIn(problem('QUERY_TIMEOUT'), { timeoutMs: 200 })).toEqual(['limit_ms is 300, not 200']);
  });

  it('a stack trace is found', () => {
    const reply = problem('INTERNAL', (document) => {
      document.detail = new Error('x').stack;
    });
    expect(wrongIn(reply)).toEqual(['the detail holds a stack trace']);
  });
});
