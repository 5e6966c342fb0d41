import type { Circle } from './many-calls-run.js'
import { attemptsOf, type Group, methodOf, type Row } from './row.js'

const introOf = (faults: number) => `# Tables of faults

These pages show what the stack does when something goes wrong. They list ${faults} faults. Each row is a test, and the pages are generated from the tests. To run them all:

\`\`\`sh
npx vitest run --project unit test/faults
\`\`\`

Each fault is produced over real sockets, against a client with all layers in the recommended order: cache, dedupe, rateLimit, timeout, fallback, retry (two
retries), hedge, breaker, queue (one slot), providerLimit (a rateLimit for upstream), attempt (a timeout for each attempt), and pool (one connection). Limits, fallback and hedge have no effect,
unless the row is about them.

In addition to what its row says, each test checks that:

- the call settles once, and sends no request after its end;
- slot, queue place, connection and reservations are released, and upstream is not working on the call any more;
- neither the key nor the prompt is in the error, its causes, its JSON, or the stats;
- the same call, made again, gets the right answer: complete answers are cached, and nothing else is;
- other calls are answered afterwards, never more at a time than there are slots, and the breaker is closed;
- nothing is left over when the client closes, and Node prints no warnings.

The columns are:

- *Outcome*: an answer, the code of an error, the reason of the caller's own signal, or "the reader leaves". "Not cached" means that the answer is returned but not stored.
- *Requests*: the requests that reach upstream. "0 of 3 tried" means three attempts of which none reached it.
- *Breaker*: the calls that the breaker counts, and its state if it is not closed.

Some words are used for faults of connections. The *head* of a response is its status line and headers. A *reset* closes the connection with an error (RST). After an *end* or a *cut*, the connection is
closed normally (FIN) before the response is complete.
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

const OUTCOMES: Readonly<Record<string, string>> = {
  answer: 'an answer',
  left: 'the reader leaves',
  'the reason': "the caller's reason",
}
const endOf = ({ ends, kept = true }: Row): string =>
  `${OUTCOMES[ends] ?? ends}${ends === 'answer' && !kept ? ', not cached' : ''}`

const line = (...cells: readonly string[]) =>
  `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`

const tableOf = ({ title, rows }: Group): string =>
  [
    `## ${title}`,
    '',
    line('fault', 'call', 'outcome', 'requests', 'breaker'),
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
    line('fault', 'outcome', 'requests', 'breaker'),
    '|---|---|---|---|',
    ...circles.map(({ fault, ends, requests, breaker }) => line(fault, ends, requests, breaker)),
    '',
  ].join('\n')

/** A page of faults: its file, its title, and what is on it. */
export interface FaultPage {
  readonly file: string
  readonly title: string
  readonly groups: readonly Group[]
  readonly circles?: readonly Circle[]
}

const countOf = ({ groups, circles = [] }: FaultPage): number =>
  groups.reduce((sum, { rows }) => sum + rows.length, circles.length)

/** The page that explains the tables and links to them. */
export const indexOf = (pages: readonly FaultPage[]): string =>
  [
    introOf(pages.reduce((sum, page) => sum + countOf(page), 0)),
    line('page', 'faults', 'sections'),
    '|---|---|---|',
    ...pages.map((page) =>
      line(
        `[${page.title}](${page.file})`,
        `${countOf(page)}`,
        [...page.groups.map(({ title }) => title), ...(page.circles ? ['Many calls'] : [])].join(
          '; ',
        ),
      ),
    ),
    '',
    'Next: [what the library guarantees](../../src/core/GUARANTEES.md).',
    '',
  ].join('\n')

/** Faults with their outcomes, as a page to read. */
export const pageOf = ({ title, groups, circles }: FaultPage): string =>
  [
    `# Faults: ${title[0]!.toLowerCase()}${title.slice(1)}\n`,
    'The columns are explained on [the page of all tables](README.md).\n',
    ...groups.map(tableOf),
    ...(circles ? [circlesTable(circles)] : []),
    'Next: [all tables of faults](README.md).\n',
  ].join('\n')
