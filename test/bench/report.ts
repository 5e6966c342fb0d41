/**
 * `npm run bench:report -- A.json B.json` holds runs of `npm run bench -- --json` against the goals,
 * of each figure the worst of these runs. With `--publish` two whole runs become `results.json`,
 * the picture and the tables of the pages.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from './compile.js'
import { goalsTable, worst } from './goal.js'
import { goalsOf } from './goals.js'
import { draw } from './picture.js'
import { measuredPages, withMeasured } from './readme-tables.js'
import { readResults, writeResults } from './results.js'
import type { Results } from './table.js'

const published = join(import.meta.dirname, 'results.json')

function publish(runs: readonly Results[]): void {
  if (runs.length !== 2 || runs.some(({ quick }) => quick))
    throw new Error('Publish two whole runs: a figure that does not come back is not published.')
  writeResults(published, runs)
  writeFileSync(join(import.meta.dirname, 'results.svg'), draw(runs))
  for (const [path, rows] of measuredPages) {
    const page = join(root, path)
    writeFileSync(page, withMeasured(readFileSync(page, 'utf8'), runs, rows))
  }
}

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { publish: { type: 'boolean', default: false } },
  })
  const runs = (positionals.length > 0 ? positionals : [published]).flatMap(readResults)
  if (values.publish) publish(runs)
  console.log(goalsTable(worst(runs.map(goalsOf))))
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 1
}
