/**
 * Our supervisor held against the one of Erlang/OTP. The committed traces were recorded on OTP 25 and are replayed
 * everywhere; where Erlang is installed, they are recorded afresh, and new random scenarios are played on both.
 *
 * `OTP_SEED=n npx vitest run test/otp` plays the random scenarios from n on, `OTP_COUNT` so many of them.
 * `OTP_RECORD=1` writes the traces anew.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { hasErlang, lines, playOnOtp } from './erlang.ts';
import { handPicked } from './hand-picked.ts';
import { play } from './play.ts';
import { randomScenarios } from './random-scenario.ts';
import type { Scenario, Trace } from './scenario.ts';

interface Recording {
  readonly scenario: Scenario;
  readonly trace: Trace;
}

const COMMITTED = { 'hand-picked': handPicked, random: randomScenarios(1_000_000, 100) };

if (process.env.OTP_RECORD === '1') {
  for (const [name, scenarios] of Object.entries(COMMITTED)) {
    const traces = await playOnOtp(scenarios);
    const recordings = scenarios.map((scenario, index) => ({ scenario, trace: traces[index] }));
    writeFileSync(file(name), recordings.map((recording) => `${JSON.stringify(recording)}\n`).join(''));
  }
}

describe.each(Object.entries(COMMITTED))('what OTP did in the %s scenarios', (name, scenarios) => {
  const recordings = lines(readFileSync(file(name), 'utf8')) as Recording[];

  test.each(recordings.map(({ scenario, trace }) => [scenario.name, scenario, trace] as const))(
    '%s',
    async (_, scenario, trace) => expect(await play(scenario)).toEqual(trace),
  );

  test('the traces are those of the scenarios', () => {
    expect(recordings.map(({ scenario }) => scenario)).toEqual(JSON.parse(JSON.stringify(scenarios)));
  });

  test.skipIf(!hasErlang)(
    'OTP does the same today',
    async () => {
      expect(await playOnOtp(scenarios)).toEqual(recordings.map(({ trace }) => trace));
    },
    300_000,
  );
});

describe('new random scenarios', () => {
  const { OTP_SEED: given, CI: ci } = process.env;
  const seed = Number(given ?? (ci === 'true' ? 1 : Math.floor(Math.random() * 1_000_000_000)));
  const count = Number(process.env.OTP_COUNT ?? 600);

  test.skipIf(!hasErlang)(
    `${count} of them, from seed ${seed}, go the same way on both`,
    async () => {
      const scenarios = randomScenarios(seed, count);
      const traces = await playOnOtp(scenarios);
      expect(traces).toHaveLength(count);
      for (const [index, scenario] of scenarios.entries()) {
        const trace = traces[index] as Trace;
        expect(
          await play(scenario),
          `OTP_SEED=${seed + index} OTP_COUNT=1: ${JSON.stringify(scenario)}`,
        ).toEqual(trace);
      }
    },
    600_000,
  );

  test('Erlang is there to compare with', ({ skip }) => {
    if (hasErlang) return;
    const message =
      'Erlang/OTP is not installed (apt-get install erlang-base): only committed traces were compared';
    if (process.env.CI === 'true') throw new Error(message);
    process.stderr.write(`\n*** ${message} ***\n\n`);
    skip(message);
  });
});

function file(name: string): string {
  return fileURLToPath(new URL(`traces/${name}.jsonl`, import.meta.url));
}
