/** docs/fault-matrix.md: a table for each server, written from what a run has seen, and read back. */
import { FAULTS, MOMENTS, VARIANTS } from './matrix.ts';

/** By the title of the server, and then by fault and moment. */
export type Outcomes = ReadonlyMap<string, ReadonlyMap<string, string>>;

const BEGINNING = `# The fault matrix

Every fault a worker can have, at every moment of a query, and what the query at that moment is told. These are results: each cell is played
by real processes with each run of the tests (\`test/chaos/matrix.test.ts\`), which fails if one says something else: half of them, like the
fields of a chessboard, or all with \`DUCKCOOP_MATRIX=all\` in its environment; \`DUCKCOOP_WRITE_MATRIX=1\` writes this page.

In each of them, \`/healthz\` is answered all the while, no other query is told of anything, the worker has a successor, the next query succeeds, and
nothing is left over: no process, descriptor, file or actor.

| moment | the worker is struck |
| --- | --- |
| \`idle\` | while it has nothing to do; three queries are sent at once, or, where what is struck works on for a moment, as soon as it is dead |
| \`starting\` | while it starts, in place of one that has died; two queries wait |
| \`queued\` | while a query runs for long: what the six are told that wait behind it |
| \`attaching\`, \`preparing\`, \`running\`, \`replying\` | when the query comes there |
| \`cancelling\` | while it stops a query that somebody cancels; \`409 killed\` where the query was ended by killing the worker |

| fault | |
| --- | --- |
| \`sigstop\`, \`hang\`, \`heartbeat-loss\` | noticed by silence, and killed for it; \`exit\` waits for a query that runs, as node does, and is killed as well |
| \`heartbeat-loss\` | works on until then: shown for a long query where nothing is tried again, for a short one where it is |
| \`oom\` | memory until the limit of the process; not tried again, for the query is taken to be the one that wants it |
| \`disk-full\` | no death; at work is a query that spills, but for \`replying\` |
| \`slow-start\`, \`crash-at-start\` | of the successor: the worker itself dies of SIGKILL at that moment |

[What a client sees](supervision-tree.md#what-a-client-sees) has the replies in full.
`;

/** What each server is. */
const EXPLAINED: Readonly<Record<string, string>> = {
  'No reserve, no retry':
    '`reserve: 0` and `retry: { max: 0 }`: each death is told to the query that was at work, as it was.',
  'A reserve, and one retry':
    '`reserve: 1` and `retry: { max: 1 }`, as by default: another worker takes over, and reads are tried once more.',
};

export function documentOf(outcomes: Outcomes): string {
  const tables = VARIANTS.map(({ title }) => {
    const cells = outcomes.get(title);
    const lines = FAULTS.map((fault) => {
      const said = MOMENTS.map((moment) => cells?.get(`${fault} ${moment}`) ?? '?');
      return `| \`${fault}\` | ${said.join(' | ')} |`;
    });
    return [
      `\n## ${title}\n`,
      `${EXPLAINED[title]}\n`,
      `| fault | ${MOMENTS.join(' | ')} |`,
      `| --- |${' --- |'.repeat(MOMENTS.length)}`,
      ...lines,
      '',
    ].join('\n');
  });
  return `${BEGINNING}${tables.join('')}`;
}

export function outcomesIn(document: string): Outcomes {
  const outcomes = new Map<string, Map<string, string>>();
  for (const section of document.split('\n## ').slice(1)) {
    const [title = '', ...lines] = section.split('\n');
    const cells = new Map<string, string>();
    for (const line of lines) {
      const [, fault, rest] = /^\| `([\w-]+)` \| (.*) \|$/.exec(line) ?? [];
      for (const [index, said] of (rest ?? '').split(' | ').entries()) {
        if (fault !== undefined) cells.set(`${fault} ${MOMENTS[index]}`, said);
      }
    }
    outcomes.set(title, cells);
  }
  return outcomes;
}
