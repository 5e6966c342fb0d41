import type { Circle } from './many-calls-run.js'
import { attemptsOf, type Group, methodOf, type Row } from './row.js'

const introOf = (faults: number) => `# What the stack does when something goes wrong

${faults} faults. Each line is a test, and this page is made of the tests' own data. To repeat them all:

\`\`\`sh
npx vitest run --project unit test/faults
\`\`\`

Every fault is played over real sockets, against a client with all layers in the recommended order: cache, dedupe, rateLimit, timeout, fallback, retry (two
repeats), hedge, breaker, queue (one slot), a rateLimit of upstream, a time-out for an attempt, and pool (one connection). Limits, fallback and hedge let everything pass and
ask nobody, unless the line is about them. Beside what its line says, each one shows that

- the call settles once, and makes no request behind its end;
- slot, queue place, connection and reservations are back, and upstream has nothing to do for it any more;
- neither the key nor the prompt is in the error, its causes, its JSON or in the stats;
- the same call again is answered truly: nothing but a whole answer is kept, and that is;
- other calls are answered behind it, no more at a time than there are slots, and the breaker is closed;
- nothing is left when the client closes, and Node has nothing to warn of.

*Comes to*: an answer, the code of an error, or the reason of the caller's own signal. *Requests*: those that upstream sees, and those of the other client's upstream. *Breaker*: the verdicts
that it counts, and its state when it is not closed.
`

const plural = (n: number, one: string, many: string) => `${n} ${n === 1 ? one : many}`

function verdicts({ breaker: { failures = 0, successes = 0, state } }: Row): string {
  const said = [
    failures && plural(failures, 'failure', 'failures'),
    successes && plural(successes, 'success', 'successes'),
    state,
  ]
  return said.filter(Boolean).join(', ') || 'none'
}

function requestsOf(row: Row): string {
  const attempts = attemptsOf(row)
  const own = attempts === row.requests ? `${attempts}` : `${row.requests} of ${attempts} tried`
  return row.other === undefined ? own : `${own}, and ${row.other.requests} of the other client`
}

const endOf = ({ ends, kept = true }: Row): string =>
  ends === 'answer' && !kept ? 'an answer, not kept' : ends === 'answer' ? 'an answer' : ends

const line = (...cells: readonly string[]) =>
  `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`

const tableOf = ({ title, rows }: Group): string =>
  [
    `## ${title}`,
    '',
    line('fault', 'call', 'comes to', 'requests', 'breaker'),
    '|---|---|---|---|---|',
    ...rows.map((row) =>
      line(row.fault, `\`${methodOf(row)}\``, endOf(row), requestsOf(row), verdicts(row)),
    ),
    '',
  ].join('\n')

const circlesTable = (circles: readonly Circle[]): string =>
  [
    '## Many calls',
    '',
    line('fault', 'comes to', 'requests', 'breaker'),
    '|---|---|---|---|',
    ...circles.map(({ fault, ends, requests, breaker }) => line(fault, ends, requests, breaker)),
    '',
  ].join('\n')

/** All faults with what comes of them, as a page to read. */
export const pageOf = (groups: readonly Group[], circles: readonly Circle[]): string =>
  [
    introOf(groups.reduce((sum, { rows }) => sum + rows.length, circles.length)),
    ...groups.map(tableOf),
    circlesTable(circles),
  ].join('\n')
