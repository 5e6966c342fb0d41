import { goalsTable } from './goals.js'
import { type Results, short } from './table.js'

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

const rowsOf = ({ tables }: Results, id: string) => tables.find((one) => one.id === id)?.rows ?? []

const MEMORY: readonly (readonly [string, string])[] = [
  ['waiting', 'a call that waits'],
  ['cached', 'a cached entry: key and small answer'],
  ['idle', 'an idle client'],
  ['streams', 'an open stream of 10,000, socket included'],
]

function memoryTable(results: Results): string {
  const rows = MEMORY.flatMap(([id, title]) =>
    rowsOf(results, `memory.${id}`).map(({ contender, value, more }) => [
      title,
      contender,
      short(value),
      id === 'streams' ? short(more['resident bytes']?.value) : '–',
    ]),
  )
  return table(['bytes in the heap and beside it, for each', 'of', 'bytes', 'resident'], rows)
}

const SCALE: readonly (readonly [string, string])[] = [
  ['layers', 'layers, the innermost first'],
  ['width', 'calls in progress, all layers'],
  ['entries.miss', 'entries of the cache, a miss'],
  ['entries.hit', 'entries of the cache, a hit'],
]

function scaleTable(results: Results): string {
  const rows = SCALE.map(([id, title]) => {
    const cells = rowsOf(results, `scale.${id}`)
    return [
      title,
      cells
        .map(
          ({ contender, value }) =>
            `${contender.replace(/ (layers|in progress|entries)$/, '')}: ${short(value)}`,
        )
        .join(', '),
    ]
  })
  return table(['what grows', 'CPU of a call, µs'], rows)
}

/** The parts of the README that are figures, by the names of their markers. */
export const measured = (results: Results): Readonly<Record<string, string>> => ({
  goals: goalsTable(results),
  memory: memoryTable(results),
  scale: scaleTable(results),
})

/**
 * The README with its measured parts, each between `<!-- measured: NAME -->` and `<!-- end -->`.
 */
export function withMeasured(readme: string, results: Results): string {
  let text = readme
  for (const [name, part] of Object.entries(measured(results))) {
    const begin = `<!-- measured: ${name} -->\n`
    const from = text.indexOf(begin)
    const to = text.indexOf('\n<!-- end -->', from)
    if (from < 0 || to < 0) throw new Error(`The README has no place for the measured ${name}.`)
    text = `${text.slice(0, from + begin.length)}${part}${text.slice(to)}`
  }
  return text
}
