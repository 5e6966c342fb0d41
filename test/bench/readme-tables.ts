import { columns, comparisons, worseRun } from './comparisons.js'
import { written } from './goal.js'
import { markdown, type Results } from './table.js'

/** How we stand beside others. */
const besidePeers = (runs: readonly Results[]): string =>
  markdown(
    ['', ...columns],
    comparisons.map((comparison) => {
      const run = worseRun(runs, comparison)
      const cells = columns.map((name) => written(comparison.figure(run, name), comparison.unit))
      return [comparison.title, ...cells]
    }),
  )

/** The README with its measured table, between `<!-- measured: peers -->` and `<!-- end -->`. */
export function withMeasured(readme: string, runs: readonly Results[]): string {
  const begin = '<!-- measured: peers -->\n'
  const from = readme.indexOf(begin)
  const to = readme.indexOf('\n<!-- end -->', from)
  if (from < 0 || to < 0) throw new Error('The README has no place for the measured table.')
  return `${readme.slice(0, from + begin.length)}${besidePeers(runs)}${readme.slice(to)}`
}
