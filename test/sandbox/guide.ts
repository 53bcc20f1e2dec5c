/** docs/sandbox-attacks.md, as its test writes it from what came of each attack. */
import { type Attack, titleOf } from './attacks.ts';
import type { Way } from './ways.ts';

export interface Outcome {
  readonly attack: Attack;
  /** In a request and in a session. */
  readonly reader: readonly string[];
  readonly writer: readonly string[];
}

const HEAD = `# What is tried against the sandbox

The attacks that \`test/sandbox/attacks.test.ts\` makes on a running server, and what became of each. This page is written by that test, which fails
where an outcome is another one: \`npm test -- test/sandbox/attacks.test.ts -u\` writes it anew.

Everything is real: \`{folder}\` is a folder that is no source, with a secret in a file of each format; \`{postgres}\`, \`{mysql}\`, \`{http}\` and \`{tcp}\` are
ports of servers that count who comes. In no case does the secret come in a reply, does anything reach a target, is a file made or changed, or does a
worker end. Each is tried by a reader and by a writer (\`sql.write: true\`), in a request with a PostgreSQL source (\`pg1\`; \`my1\`, of MariaDB, where it is named), and in a
session with \`pg1\`, a SQLite file and a folder of files. With \`lk1\` (\`s3://lake/open/\`) and \`web1\` (\`http://127.0.0.1:{http}/open/\`) are tried those of
object storage and the web; with \`dk1\` (a DuckDB file in \`{stored}\`), \`dl1\` (a lake in \`{stored}\`, whose catalog says that a table is in \`{folder}\`) and \`hs1\` (a
DuckDB file whose views and macros open others) those of DuckDB's own databases. Where a session has another outcome it stands behind a slash. What costs an instance of DuckDB each time (requests with these, and
a writer's that the guard has nothing against) is tried with a tenth of the attacks, others each time.

| outcome | what it is |
| --- | --- |
| function \`x\` | refused by the guard, before DuckDB binds anything: \`FORBIDDEN\`, \`denied.kind\` is \`function\` |
| statement \`X\` | refused for what kind of statement it is: \`FORBIDDEN\`, \`denied.kind\` is \`statement\` |
| source | refused by DuckDB, whose instance may open nothing but the sources: \`FORBIDDEN\`, \`denied.kind\` is \`source\` |
| SOURCE_UNAVAILABLE | the source is a web server, and sent whoever asked elsewhere |
| error | DuckDB's own error, of this type: there is no such thing, or it cannot be changed |
| answered | it is a read like any other, and tells no credential |

`;

export function guideOf(outcomes: readonly Outcome[], ways: readonly Way[]): string {
  const groups = [...new Set(outcomes.map(({ attack }) => attack.group))];
  const parts = groups.map((group) =>
    [
      `## ${group}`,
      '',
      '| attack | reader | writer |',
      '| --- | --- | --- |',
      ...outcomes
        .filter(({ attack }) => attack.group === group)
        .map(({ attack, reader, writer }) => row([code(titleOf(attack)), told(reader), told(writer)])),
      '',
      '',
    ].join('\n'),
  );
  return `${HEAD}${parts.join('')}${waysOf(ways)}`;
}

function waysOf(ways: readonly Way[]): string {
  const names = [...new Set(ways.map(({ name }) => name))];
  return `## In other words

Calls and statements are tried in ${names.length} other ways as well, each time with other attacks: ${names.join('; ')}. \`DUCKCOOP_ATTACKS=all\` tries all of them
with all attacks.
`;
}

function told(outcomes: readonly string[]): string {
  return [...new Set(outcomes)]
    .map((outcome) => outcome.replace(/ (.*)/, (_, name: string) => ` \`${name}\``))
    .join(' / ');
}

function code(text: string): string {
  return `\`${text}\``;
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}
