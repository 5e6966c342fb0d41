import { columns, comparisons, unrest, worseRun } from './comparisons.js'
import { OURS } from './contenders/names.js'
import { written } from './goal.js'
import { markdown, type Results, short } from './table.js'

/** How we stand beside others. */
const besidePeers = (runs: readonly Results[]): string =>
  markdown(
    ['', ...columns.map((name) => (name === OURS ? '**blossom-stack**' : name))],
    comparisons.map((comparison) => {
      const run = worseRun(runs, comparison)
      const cells = columns.map((name) => written(comparison.figure(run, name), comparison.unit))
      return [comparison.title, ...cells]
    }),
  )

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

const PICTURE =
  '![Calls, stream chunks and in-process cost beside undici, policy libraries and SDKs](test/bench/results.svg)'

function measured(runs: readonly Results[]): string {
  const table = besidePeers(runs)
  const factor = unrest(runs)
  return factor < TOO_BUSY
    ? `${PICTURE}\n\n${table}\n\n${circumstances(runs)}`
    : `No table is shown, because the machine was too busy during the last two runs: rounds of undici alone differ by a factor of ${short(factor)}. Run \`npm run bench\` to measure yours.`
}

/** The README with its measured table, between `<!-- measured: peers -->` and `<!-- end -->`. */
export function withMeasured(readme: string, runs: readonly Results[]): string {
  const begin = '<!-- measured: peers -->\n'
  const from = readme.indexOf(begin)
  const to = readme.indexOf('\n<!-- end -->', from)
  if (from < 0 || to < 0) throw new Error('The README has no place for the measured table.')
  return `${readme.slice(0, from + begin.length)}${measured(runs)}${readme.slice(to)}`
}
