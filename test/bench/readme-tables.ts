import { type Comparison, columns, comparisons, shown, unrest, worseRun } from './comparisons.js'
import { OURS } from './contenders/names.js'
import { written } from './goal.js'
import { markdown, type Results, short } from './table.js'

/** How we stand beside others, without those of whom none of these figures is known. */
function besidePeers(runs: readonly Results[], rows: readonly Comparison[]): string {
  const figures = rows.map((row) => {
    const run = worseRun(runs, row)
    return new Map(columns.map((name) => [name, row.figure(run, name)]))
  })
  const known = columns.filter((name) => figures.some((row) => Number.isFinite(row.get(name))))
  return markdown(
    ['', ...known.map((name) => (name === OURS ? '**blossom-stack**' : name))],
    rows.map(({ title, unit }, i) => [
      title,
      ...known.map((name) => written(figures[i]?.get(name) as number, unit)),
    ]),
  )
}

/** Where and when, and whether the machine was quiet. */
function circumstances(runs: readonly Results[]): string {
  const { node, machine, date } = runs.at(-1) as Results
  const factor = unrest(runs)
  const warning =
    factor > 1.5
      ? ` The machine was busy: rounds of undici alone differ by a factor of ${short(factor)}, so these figures are rough.`
      : ''
  return `Node ${node}, ${machine}, ${date}.${warning}`
}

/** From here on figures of a busy machine are not worth showing. */
const TOO_BUSY = 5

function measured(runs: readonly Results[], rows: readonly Comparison[]): string {
  const table = besidePeers(runs, rows)
  const factor = unrest(runs)
  return factor < TOO_BUSY
    ? `${table}\n\n${circumstances(runs)}`
    : `No table is shown, because the machine was too busy during the last two runs: rounds of undici alone differ by a factor of ${short(factor)}. Run \`npm run bench\` to measure yours.`
}

/** The page with its measured table, between `<!-- measured: peers -->` and `<!-- end -->`. */
export function withMeasured(
  page: string,
  runs: readonly Results[],
  rows: readonly Comparison[],
): string {
  const begin = '<!-- measured: peers -->\n'
  const from = page.indexOf(begin)
  const to = page.indexOf('\n<!-- end -->', from)
  if (from < 0 || to < 0) throw new Error('The page has no place for the measured table.')
  return `${page.slice(0, from + begin.length)}${measured(runs, rows)}${page.slice(to)}`
}

/** The pages with such a table, as paths below the root, and the rows that each shows. */
export const measuredPages: readonly (readonly [path: string, rows: readonly Comparison[]])[] = [
  ['README.md', shown],
  ['test/bench/README.md', comparisons],
]
