/**
 * The attacks of attacks.ts against a server with sources, by a reader and by a writer, in a request and in a session: no canary
 * comes, no target is touched, the server lives. Each way of ways.ts is tried with a few attacks, others every time;
 * with all of them where `DUCKCOOP_ATTACKS` is `all`.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mariadb, postgres } from '../support/servers.ts';
import type { Reply, Settings } from '../support/test-server.ts';
import { ATTACKS, type Attack, fillIn, REMOTE, STORED, titleOf } from './attacks.ts';
import { guideOf } from './guide.ts';
import { makeSandbox, ROLES, type Role, type Sandbox, SCOPES, type Scope } from './sandbox.ts';
import { WAYS } from './ways.ts';

const [pg, my] = await Promise.all([postgres(), mariadb()]);

/** Who tries, and where. */
interface Lane {
  readonly role: Role;
  readonly scope: Scope;
}
const LANES: readonly Lane[] = ROLES.flatMap((role) => SCOPES.map((scope) => ({ role, scope })));

const FORMATS = ['csv', 'ndjson', 'arrow', 'parquet'];
const EVERYTHING = process.env.DUCKCOOP_ATTACKS === 'all';
const PATIENCE_MS = EVERYTHING ? 3_600_000 : 240_000;
/** Where the choice of attacks begins; another one each time, but in CI. */
const START = fc.readConfigureGlobal().seed ?? Date.now();

describe.skipIf(pg === undefined || my === undefined)('the sandbox', () => {
  let sandbox: Sandbox;
  beforeAll(async () => {
    if (pg !== undefined && my !== undefined) sandbox = await makeSandbox({ postgres: pg, mysql: my });
  });
  afterAll(() => sandbox?.close());

  it(
    'lets none of the attacks through',
    async () => {
      const outcomes = new Map<Attack, Map<Lane, string>>(ATTACKS.map((attack) => [attack, new Map()]));
      const through = await inLanes(async (lane, say) => {
        for (const [index, attack] of ATTACKS.entries()) {
          const rare = needsInstance(attack, lane);
          if (rare && !EVERYTHING && (START + index) % 10 !== 0) continue;
          const outcome = await tried(titleOf(attack), lane);
          if (!EXPECTED[attack.refused].test(outcome)) say(`${titleOf(attack)}: ${outcome}`);
          if (!rare) outcomes.get(attack)?.set(lane, outcome);
        }
      });
      expect(through).toEqual([]);
      await expectUntouched();
      const told = ATTACKS.map((attack) => {
        const of = (role: Role) =>
          LANES.filter((lane) => lane.role === role).flatMap((lane) => outcomes.get(attack)?.get(lane) ?? []);
        return { attack, reader: of('reader'), writer: of('writer') };
      });
      await expect(guideOf(told, WAYS)).toMatchFileSnapshot('../../docs/sandbox-attacks.md');
    },
    PATIENCE_MS,
  );

  it(
    'is got round in no way',
    async () => {
      let tries = 0;
      const through = await inLanes(async (lane, say) => {
        for (const [index, way] of WAYS.entries()) {
          const attacks = ATTACKS.filter(
            (attack) =>
              way.of.has(attack.kind) &&
              attack.refused !== 'answers' &&
              (EVERYTHING || !needsInstance(attack, lane)),
          );
          const first = (START + index) % attacks.length;
          for (const attack of EVERYTHING ? attacks : attacks.slice(first, first + 1)) {
            const sql = way.say(attack);
            const outcome = await tried(sql, lane);
            const expected = EXPECTED[attack.refused === 'by function' ? 'by function' : 'in some way'];
            if (
              !expected.test(outcome) &&
              !(way.defers && attack.refused === 'in some way' && outcome === 'answered')
            )
              say(`${way.name}: ${sql}: ${outcome}`);
            tries += 1;
          }
        }
      });
      expect(through).toEqual([]);
      await expectUntouched();
      if (EVERYTHING) process.stdout.write(`${tries} tries\n`);
    },
    PATIENCE_MS,
  );

  it(
    'lets none through where the result is a stream',
    async () => {
      const through: string[] = [];
      const refused = ATTACKS.filter(
        (attack) => attack.refused !== 'answers' && ![REMOTE, STORED].includes(attack.group),
      );
      const every = EVERYTHING ? 1 : 12;
      for (const [index, attack] of refused.entries()) {
        if ((START + index) % every !== 0) continue;
        const lane = LANES[index % LANES.length] as Lane;
        const format = FORMATS[index % FORMATS.length] as string;
        const outcome = await tried(titleOf(attack), lane, { format });
        if (!EXPECTED[attack.refused].test(outcome))
          through.push(`${format}: ${titleOf(attack)}: ${outcome}`);
      }
      // The pipe that a stream is written to is open to DuckDB where it is used, and where that is nothing may be read from it.
      const pipe = "SELECT count(*)::INT AS n FROM read_text(current_setting('allowed_paths')[1])";
      const { body } = await sandbox.run(pipe, LANES[0] as Lane, { format: 'csv' });
      expect(String(body).trim().split(/\s+/)).toEqual(['n', '0']);
      expect(through).toEqual([]);
      await expectUntouched();
    },
    PATIENCE_MS,
  );

  /** Its outcome; it has to show nothing that nobody may see. */
  async function tried(sql: string, lane: Lane, fields: Settings = {}): Promise<string> {
    const { places, files, canaries } = sandbox.targets;
    const reply = await sandbox.run(fillIn(sql, places, files), lane, fields);
    const text = JSON.stringify([reply.headers, reply.body]);
    for (const canary of canaries) expect(text.includes(canary), `${sql}: ${text}`).toBe(false);
    if (lane.scope === 'session' && sql.startsWith('BEGIN'))
      await sandbox.run(/s3:|lk1|web1/i.test(sql) ? 'ROLLBACK -- lk1' : 'ROLLBACK', lane);
    return outcomeOf(reply);
  }

  async function expectUntouched(): Promise<void> {
    expect(await sandbox.targets.touched()).toEqual([]);
    expect(sandbox.crashes()).toBe(0);
    const web = `http://127.0.0.1:${sandbox.targets.places.http}`;
    for (const lane of LANES)
      for (const table of ['pg1.public.shown', "'s3://lake/open/shown.csv'", `'${web}/open/shown.csv'`])
        expect((await sandbox.run(`SELECT a FROM ${table}`, lane)).body.data, table).toEqual([['shown']]);
  }
});

/** What costs an instance of DuckDB each time, and so is tried with some of the attacks, others each time. */
function needsInstance({ group, refused }: Attack, { role, scope }: Lane): boolean {
  if (scope === 'session') return false;
  return (
    group === REMOTE ||
    group === STORED ||
    (role === 'writer' && (refused === 'in some way' || refused === 'answers'))
  );
}

/** In all of them at once, one statement at a time in each; what was said, and where. */
async function inLanes(
  work: (lane: Lane, say: (what: string) => void) => Promise<void>,
): Promise<readonly string[]> {
  const said: string[] = [];
  await Promise.all(
    LANES.map((lane) => work(lane, (what) => said.push(`${lane.role}, ${lane.scope}: ${what}`))),
  );
  return said;
}

/** As the guide tells it. */
function outcomeOf({ status, body }: Reply): string {
  if (status === 200) return 'answered';
  const { code, denied, duckdb } = body;
  if (code === 'FORBIDDEN') return denied.kind === 'source' ? 'source' : `${denied.kind} ${denied.name}`;
  return code === 'SQL_ERROR' ? `error: ${duckdb.type}` : String(code);
}

/** An error of the parser's says that DuckDB understood nothing of it. Any other one may have come too late. */
const EXPECTED: Readonly<Record<Attack['refused'], RegExp>> = {
  'by function': /^(?:function|statement) |^error: Parser$/,
  'by statement': /^statement /,
  'in some way': /^(?:function|statement) |^source$|^error: |^SOURCE_UNAVAILABLE$/,
  answers: /^answered$/,
};
