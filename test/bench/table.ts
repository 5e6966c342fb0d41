/** One contender's figures: a number for each round. */
export interface Row {
  readonly contender: string
  readonly rounds: readonly number[]
  /** What was measured in the same rounds beside the table's own unit, by unit. */
  readonly more: Readonly<Record<string, readonly number[]>>
}

export interface Table {
  /** `bench.part`: the goals and the README find it by this. */
  readonly id: string
  readonly title: string
  readonly unit: string
  readonly rows: readonly Row[]
}

/** What one turn of a contender measures. */
export interface Sample {
  readonly value: number
  readonly more?: Readonly<Record<string, number>>
}

/** One run of the benchmarks, as `--json` writes it. */
export interface Results {
  readonly node: string
  readonly machine: string
  readonly date: string
  /** A smoke run: its figures mean nothing. */
  readonly quick: boolean
  readonly tables: readonly Table[]
  /** Contenders that could not take part, with the reason. */
  readonly leftOut: readonly string[]
}

export const CPU = 'CPU µs'

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}

/** The median of the rounds' own ratios: a machine that slows down between rounds changes none. */
export const ratioOf = (values: readonly number[], base: readonly number[]): number =>
  median(values.map((value, round) => value / (base[round] ?? Number.NaN)))

/** The same for differences. */
export const addedTo = (values: readonly number[], base: readonly number[]): number =>
  median(values.map((value, round) => value - (base[round] ?? Number.NaN)))

/** Rows from the `samples` of each contender, round by round. */
export const rowsOf = (samples: ReadonlyMap<string, readonly Sample[]>): Row[] =>
  [...samples].map(([contender, rounds]) => {
    const units = Object.keys(rounds[0]?.more ?? {})
    const more = units.map(
      (unit) => [unit, rounds.map((sample) => sample.more?.[unit] ?? Number.NaN)] as const,
    )
    return {
      contender,
      rounds: rounds.map(({ value }) => value),
      // JSON has no NaN, which is what a contender reports that cannot measure something.
      more: Object.fromEntries(more.filter(([, values]) => values.every(Number.isFinite))),
    }
  })

export const times = (ratio: number): string => (Number.isFinite(ratio) ? ratio.toFixed(2) : '–')

export const short = (value: number): string =>
  Number.isFinite(value)
    ? Number(value.toPrecision(value >= 1_000 ? 4 : 3)).toLocaleString('en-US', {
        maximumFractionDigits: 4,
      })
    : '–'

export const markdown = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

/** Units beside a table's own in which contenders are compared, too. */
const COMPARED: readonly string[] = [CPU, 'bytes/call']

/** Prints a table to the terminal, its figures beside the first contender's. */
export function printTable({ id, title, unit, rows }: Table): void {
  const units = [...new Set(rows.flatMap(({ more }) => Object.keys(more)))]
  const columns = units.flatMap((one) => (COMPARED.includes(one) ? [one, '×'] : [one]))
  const cells = rows.map(({ contender, rounds, more }) => [
    contender,
    ...compared(rounds, rows[0]?.rounds),
    rounds.length < 2 ? '' : `${short(Math.min(...rounds))} … ${short(Math.max(...rounds))}`,
    ...units.flatMap((one) => {
      const cells = compared(more[one] ?? [], rows[0]?.more[one])
      return COMPARED.includes(one) ? cells : cells.slice(0, 1)
    }),
  ])
  const lines = [['', unit, '×', 'rounds', ...columns], ...cells]
  const widths =
    lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? []
  console.log(`\n${id}: ${title}`)
  for (const line of lines) {
    const padded = line.map((cell, column) => {
      const width = widths[column] ?? 0
      return column === 0 ? cell.padEnd(width) : cell.padStart(width)
    })
    console.log(`  ${padded.join('  ')}`)
  }
}

const compared = (rounds: readonly number[], base: readonly number[] = []) => [
  short(median(rounds)),
  times(ratioOf(rounds, base)),
]
