import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Scenario, Trace } from './scenario.ts';

const PLAYER = fileURLToPath(new URL('player.escript', import.meta.url));

/** Whether Erlang/OTP is installed. */
export const hasErlang = spawnSync('escript', [], { stdio: 'ignore' }).error === undefined;

/** Plays scenarios on OTP's supervisor, all of them in one Erlang process. */
export async function playOnOtp(scenarios: readonly Scenario[]): Promise<Trace[]> {
  const folder = await mkdtemp(join(tmpdir(), 'otp-'));
  try {
    const [input, output] = [join(folder, 'scenarios.jsonl'), join(folder, 'traces.jsonl')];
    await writeFile(input, scenarios.map((scenario) => `${JSON.stringify(scenario)}\n`).join(''));
    await promisify(execFile)('escript', [PLAYER, input, output]);
    return lines(await readFile(output, 'utf8')) as Trace[];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The documents of a file with one JSON document a line. */
export function lines(text: string): unknown[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line): unknown => JSON.parse(line));
}
