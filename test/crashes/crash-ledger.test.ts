import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Config, configSchema } from '../../src/config/schema.ts';
import { Secret } from '../../src/config/secret.ts';
import { CrashLedger } from '../../src/crashes/crash-ledger.ts';
import type { CrashReport } from '../../src/crashes/crash-report.ts';
import type { CrashFilter } from '../../src/crashes/crash-store.ts';
import { fingerprint } from '../../src/crashes/fingerprint.ts';
import { Redactor } from '../../src/crashes/redact.ts';
import { type EventName, Events } from '../../src/telemetry/events.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { temporaryFolder } from '../support/temp.ts';
import { death, ORIGIN } from './deaths.ts';

const EPOCH = Date.UTC(2024, 0, 31, 12);
const ALL: CrashFilter = {
  limit: 1_000,
  before: undefined,
  pool: undefined,
  cause: undefined,
  principal: undefined,
  fingerprint: undefined,
};
const PRINT = fingerprint(ORIGIN.sql, ORIGIN.sources);
const OPS = { name: 'ops', role: 'operator' } as const;

async function open(config: Record<string, unknown> = {}, secrets: readonly string[] = []) {
  let inForce: Config = configSchema.parse(config);
  const clock = new ManualClock();
  const events = new Events();
  const seen: [string, unknown][] = [];
  const names: EventName[] = [
    'crash.recorded',
    'quarantine.started',
    'quarantine.ended',
    'query.refused',
    'fault',
  ];
  for (const name of names) events.on(name, (event) => seen.push([name, event]));
  const folder = join(await temporaryFolder(), 'crashes');
  const options = {
    folder,
    config: () => inForce,
    redactor: new Redactor(secrets.map((secret) => new Secret(secret))),
    versions: { duckcoop: '0.1.0', node: 'v20.20.0' },
    clock,
    events,
    wallClock: () => EPOCH + clock.now(),
  };
  return {
    ledger: await CrashLedger.open(options),
    clock,
    folder,
    seen,
    reload: (next: Record<string, unknown>) => {
      inForce = configSchema.parse(next);
    },
    count: (name: EventName) => seen.filter(([event]) => event === name).length,
  };
}

describe('a death', () => {
  it('has a report with all that is known, in the words of the contract', async () => {
    const { ledger, folder, seen } = await open();
    const params = [1, 'x', null, { type: 'DECIMAL(18,2)', value: '1.10' }, true];
    const crashId = ledger.record(death({ lastLines: ['bad'], detail: 'because' }, { params, attempts: 2 }));
    const report = await ledger.get(crashId);
    expect(report).toEqual({
      crash_id: crashId,
      at: EPOCH,
      pool: 'interactive',
      worker: 'interactive-1',
      incarnation: 3,
      pid: 4242,
      signal: 'SIGSEGV',
      exit_code: null,
      cause: 'crash',
      phase: 'running',
      query_id: 'q1',
      fingerprint: PRINT,
      principal: 'ann',
      session_id: null,
      peak_memory_bytes: 2_000,
      uptime_ms: 1_235,
      killed_for: null,
      detail: 'because',
      statement: 'select * from pg1.t where a = ? and b in (?)',
      sql: null,
      parameter_types: ['number', 'string', 'null', 'DECIMAL(18,2)', 'boolean'],
      sources: ['pg1'],
      memory_bytes: 1_000,
      limits: { memory_limit: 1e9, memory_hard_limit: 2e9, temp_limit: 4e9, threads: 2, timeout_ms: 60_000 },
      last_lines: ['bad'],
      versions: { duckcoop: '0.1.0', node: 'v20.20.0', duckdb: 'v1.5.5' },
      attempts: 2,
    });
    const { crashes } = ledger.list(ALL);
    const { killed_for, detail, statement, sql, parameter_types, sources, ...rest } =
      report ?? ({} as CrashReport);
    const { memory_bytes, limits, last_lines, versions, attempts, ...summary } = rest;
    expect(crashes).toEqual([summary]);
    expect(seen).toEqual([
      [
        'crash.recorded',
        expect.objectContaining({ crashId, cause: 'crash', fingerprint: PRINT, principal: 'ann' }),
      ],
    ]);
    await ledger.close();
    expect(readdirSync(folder)).toEqual([`${crashId}.json`]);
  });

  it('of a worker that had no query is nobody’s', async () => {
    const { ledger } = await open({
      limits: { reader: { crash_budget: { crashes: 1 } } },
      quarantine: { crashes: 1 },
    });
    const crashId = ledger.record(death({ query: undefined, signal: undefined, exitCode: 1, phase: 'idle' }));
    expect(await ledger.get(crashId)).toMatchObject({
      exit_code: 1,
      query_id: null,
      fingerprint: null,
      principal: null,
      statement: null,
      parameter_types: null,
      sources: [],
      last_lines: [],
      attempts: null,
    });
    expect(ledger.quarantined()).toEqual([]);
    expect(ledger.refusal(ORIGIN, 'interactive')).toBeUndefined();
    await ledger.close();
  });

  it('is answered with an id, and counted, though there can be no report of it', async () => {
    const { ledger, count } = await open();
    expect(ledger.record(death({ limits: undefined as never }))).toMatch(/Z-[0-9a-f]{8}$/);
    expect(count('fault')).toBe(1);
    // What protects the others comes first.
    expect(ledger.allowance(ORIGIN.principal, 'interactive')).toBe(3);
    await ledger.close();
  });
});

describe('a credential', () => {
  const PASSWORD = 'hunter2-XYZ';

  it('is in no report, and in no file', async () => {
    const { ledger, folder, seen } = await open(
      { crashes: { include_sql: true }, quarantine: { crashes: 1 } },
      [PASSWORD],
    );
    const sql = `SELECT '${PASSWORD}' FROM "s3://key:${PASSWORD}@b/x", 'postgres://u:pw-from-elsewhere@h/d' -- ${PASSWORD}`;
    ledger.record(
      death(
        {
          detail: `cannot connect with ${PASSWORD}`,
          lastLines: [`password=${PASSWORD}`, 'x', "PASSWORD 'other-pw'"],
        },
        { sql, params: { [PASSWORD]: PASSWORD, b: { type: PASSWORD, value: PASSWORD } } },
      ),
    );
    await ledger.close();
    const [name = ''] = readdirSync(folder);
    const file = readFileSync(join(folder, name), 'utf8');
    const all = [file, JSON.stringify(ledger.quarantined()), JSON.stringify(seen)].join('\n');
    expect(all).not.toContain(PASSWORD);
    expect(all).not.toContain('pw-from-elsewhere');
    expect(all).not.toContain('other-pw');
    expect(JSON.parse(file)).toMatchObject({
      detail: 'cannot connect with [secret]',
      last_lines: ['password=[secret]', 'x', 'PASSWORD [secret]'],
      parameter_types: { '[secret]': 'string', b: '[secret]' },
    });
  });

  it('that is no known one stays out with the SQL, unless that is asked for', async () => {
    const { ledger, folder, reload } = await open();
    const query = { sql: "SELECT * FROM t WHERE ssn = '078-05-1120'", params: ['078-05-1120'] };
    ledger.record(death({}, query));
    await ledger.close();
    const files = () => readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));
    expect(files().join()).not.toContain('078-05-1120');
    reload({ crashes: { include_sql: true } });
    ledger.record(death({}, query));
    await ledger.close();
    expect(JSON.parse(files()[1] ?? '')).toMatchObject({ sql: query.sql });
  });
});

it('a report is of bounded size, whatever the worker and the client said', async () => {
  const { ledger, folder } = await open({ crashes: { include_sql: true } });
  const long = 'x '.repeat(500_000);
  const params = Object.fromEntries(
    Array.from({ length: 10_000 }, (_, index) => [`${index}${long.slice(0, 999)}`, 1]),
  );
  ledger.record(
    death({ detail: long, lastLines: Array(1_000).fill(long.slice(0, 5_000)) }, { sql: long, params }),
  );
  await ledger.close();
  const [name = ''] = readdirSync(folder);
  expect(readFileSync(join(folder, name)).length).toBeLessThan(120_000);
});

describe('a statement that crashed its workers', () => {
  it('is refused to everybody, with the crashes, until its time is over', async () => {
    const { ledger, clock, seen } = await open({ quarantine: { for: '1m' } });
    const first = ledger.record(death());
    expect(ledger.refusal(ORIGIN, 'interactive')).toBeUndefined();
    const second = ledger.record(death({ cause: 'unresponsive' }, { sql: ORIGIN.sql.toLowerCase() }));
    const until = EPOCH + 60_000;
    const again = { ...ORIGIN, queryId: 'q9', principal: OPS, sql: ORIGIN.sql.replace("'x'", "'y'") };
    expect(ledger.refusal(again, 'other')?.toProblem('q9')).toMatchObject({
      status: 422,
      code: 'QUERY_QUARANTINED',
      retryable: false,
      crash_ids: [first, second],
      until,
    });
    expect(ledger.refusal({ ...again, sources: [] }, 'other')).toBeUndefined();
    expect(ledger.refusal({ ...again, sql: 'SELECT 1' }, 'other')).toBeUndefined();
    expect(ledger.quarantined()).toMatchObject([{ fingerprint: PRINT, principals: ['ann'], until }]);
    clock.advance(59_999);
    expect(ledger.refusal(again, 'other')).toBeDefined();
    clock.advance(1);
    expect(ledger.refusal(again, 'other')).toBeUndefined();
    const kinds = seen.filter(([name]) => name !== 'crash.recorded');
    expect(kinds).toEqual([
      [
        'quarantine.started',
        {
          fingerprint: PRINT,
          statement: expect.stringContaining('select'),
          crashIds: [first, second],
          until,
        },
      ],
      ['query.refused', { queryId: 'q9', pool: 'other', principal: 'ops', code: 'QUERY_QUARANTINED' }],
      ['query.refused', expect.anything()],
      ['quarantine.ended', { fingerprint: PRINT, why: 'expired' }],
    ]);
    await ledger.close();
  });

  it('is not held back for workers that we killed', async () => {
    const { ledger } = await open();
    for (let index = 0; index < 4; index += 1)
      ledger.record(death({ cause: 'killed', killedFor: 'timeout' }));
    expect(ledger.quarantined()).toEqual([]);
    await ledger.close();
  });

  it('runs again when it is lifted', async () => {
    const { ledger, count } = await open({ quarantine: { crashes: 1 } });
    ledger.record(death());
    ledger.record(death({}, { sql: 'SELECT other' }));
    expect(ledger.lift({ fingerprint: 'unknown' })).toBe(0);
    expect(ledger.lift({ fingerprint: PRINT })).toBe(1);
    expect(ledger.refusal(ORIGIN, 'interactive')).toBeUndefined();
    expect(ledger.lift('all')).toBe(1);
    expect(ledger.lift('all')).toBe(0);
    expect(count('quarantine.ended')).toBe(2);
    await ledger.close();
  });
});

describe('a principal that cost too many workers', () => {
  it('waits for as long as Retry-After says, and nobody else does', async () => {
    const { ledger, clock } = await open({
      limits: { ann: { crash_budget: { crashes: 2, window: '30s' } } },
      pools: { interactive: { restart: { intensity: 100 } } },
    });
    for (const sql of ['SELECT a', 'SELECT b']) {
      expect(ledger.refusal({ ...ORIGIN, sql }, 'interactive')).toBeUndefined();
      ledger.record(death({ cause: 'killed', killedFor: 'memory' }, { sql }));
      clock.advance(500);
    }
    const refused = ledger.refusal({ ...ORIGIN, sql: 'SELECT c' }, 'interactive');
    expect(refused).toMatchObject({
      status: 429,
      code: 'CRASH_BUDGET_EXCEEDED',
      retryable: true,
      headers: { 'Retry-After': '29' },
    });
    expect(ledger.allowance(ORIGIN.principal, 'interactive')).toBe(0);
    expect(
      ledger.refusal({ ...ORIGIN, principal: { name: 'bob', role: 'reader' } }, 'interactive'),
    ).toBeUndefined();
    clock.advance(29_000);
    expect(ledger.refusal({ ...ORIGIN, sql: 'SELECT c' }, 'interactive')).toBeUndefined();
    expect(ledger.allowance(ORIGIN.principal, 'interactive')).toBe(1);
    await ledger.close();
  });

  it('may never use up the restarts of a pool', async () => {
    const { ledger } = await open({ pools: { interactive: { restart: { intensity: 5 } } } });
    expect(ledger.allowance(ORIGIN.principal, 'interactive')).toBe(4);
    expect(ledger.allowance(OPS, 'interactive')).toBe(Number.POSITIVE_INFINITY);
    expect(ledger.allowance(ORIGIN.principal, 'unknown')).toBe(5);
    await ledger.close();
  });
});

it('old reports are listed by the next ledger, and hold nobody back', async () => {
  const { ledger, folder, clock } = await open({ quarantine: { crashes: 1 } });
  const crashId = ledger.record(death());
  await ledger.close();
  const next = await CrashLedger.open({
    folder,
    config: () => configSchema.parse({}),
    redactor: new Redactor(),
    versions: { duckcoop: '2', node: '2' },
    clock,
    events: new Events(),
    wallClock: () => EPOCH,
  });
  expect(next.list(ALL).crashes).toMatchObject([{ crash_id: crashId }]);
  expect(next.refusal(ORIGIN, 'interactive')).toBeUndefined();
});
