/** `npm run bench` runs every benchmark in this folder, `npm run bench -- calls` one of them. Each compares contenders in turn, in one run. */
import { readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'

export interface Row {
  readonly contender: string
  /** Median of the rounds. */
  readonly value: number
  readonly unit: string
  /** Beside the first contender. */
  readonly ratio: number
  readonly spread: string
}

const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.bench.ts'))
  .map((file) => basename(file, '.bench.ts'))
const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !names.includes(name))
if (unknown.length > 0) {
  console.error(`There is no benchmark "${unknown[0]}"; there are: ${names.join(', ')}.`)
  process.exit(1)
}
console.log(
  `Node ${process.version}, ${process.platform} ${process.arch}. Compare the ratios; the absolute figures are this machine's at this moment.`,
)
for (const name of wanted.length > 0 ? wanted : names) {
  const { title, run } = (await import(pathToFileURL(join(import.meta.dirname, `${name}.bench.ts`)).href)) as {
    title: string
    run(): Promise<Row[]>
  }
  console.log(`\n${name}: ${title}`)
  console.table(
    (await run()).map(({ contender, value, unit, ratio, spread }) => ({
      contender,
      [unit]: Number(value.toPrecision(4)),
      ratio: Number(ratio.toFixed(2)),
      spread,
    })),
  )
}
