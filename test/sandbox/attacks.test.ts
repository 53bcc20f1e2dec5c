/**
 * The attacks of attacks.ts against a server with sources, by a reader and by a writer, in a request and in a session: no canary
 * comes, no target is touched, the server lives. Each way of ways.ts is tried with a few attacks, others every time;
 * with all of them where `DUCKCOOP_ATTACKS` is `all`.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mariadb, postgres } from '../support/servers.ts';
import type { Reply } from '../support/test-server.ts';
import { ATTACKS, type Attack, fillIn, titleOf } from './attacks.ts';
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

const EVERYTHING = process.env.DUCKCOOP_ATTACKS === 'all';
/** Where the choice of attacks begins; another one each time, but in CI. */
const START = fc.readConfigureGlobal().seed ?? Date.now();

describe.skipIf(pg === undefined || my === undefined)('the sandbox', () => {
  let sandbox: Sandbox;
  beforeAll(async () => {
    if (pg !== undefined && my !== undefined) sandbox = await makeSandbox({ postgres: pg, mysql: my });
  });
  afterAll(() => sandbox?.close());

  it('lets none of the attacks through', async () => {
    const outcomes = new Map<Attack, Map<Lane, string>>(ATTACKS.map((attack) => [attack, new Map()]));
    const through = await inLanes(async (lane, say) => {
      for (const attack of ATTACKS) {
        const outcome = await tried(titleOf(attack), lane);
        if (!EXPECTED[attack.refused].test(outcome)) say(`${titleOf(attack)}: ${outcome}`);
        outcomes.get(attack)?.set(lane, outcome);
      }
    });
    expect(through).toEqual([]);
    await expectUntouched();
    const told = ATTACKS.map((attack) => {
      const of = (role: Role) =>
        LANES.filter((lane) => lane.role === role).map((lane) => outcomes.get(attack)?.get(lane) ?? '');
      return { attack, reader: of('reader'), writer: of('writer') };
    });
    await expect(guideOf(told, WAYS)).toMatchFileSnapshot('../../docs/sandbox-attacks.md');
  });

  it('is got round in no way', async () => {
    let tries = 0;
    const through = await inLanes(async (lane, say) => {
      for (const [index, way] of WAYS.entries()) {
        const attacks = ATTACKS.filter(({ kind, refused }) => way.of.has(kind) && refused !== 'answers');
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
  }, 3_600_000);

  /** Its outcome; it has to show nothing that nobody may see. */
  async function tried(sql: string, lane: Lane): Promise<string> {
    const { places, files, canaries } = sandbox.targets;
    const reply = await sandbox.run(fillIn(sql, places, files), lane);
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
