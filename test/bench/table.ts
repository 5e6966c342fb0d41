/** One measured quantity: the median of its rounds. */
export interface Figure {
  readonly value: number
  /**
   * Beside the first contender, where he has the figure: the median of the rounds' own ratios, so
   * that a machine that drifts changes nothing.
   */
  readonly ratio: number | null
  readonly low: number
  readonly high: number
}

export interface Row extends Figure {
  readonly contender: string
  /** What was measured in the same rounds beside the table's own unit, under its unit. */
  readonly more: Readonly<Record<string, Figure>>
}

export interface Table {
  /** `bench.part`, what the goals and the picture find it by. */
  readonly id: string
  readonly title: string
  readonly unit: string
  readonly rows: readonly Row[]
}

/** What one turn of a contender gives. */
export type Sample =
  | number
  | { readonly value: number; readonly more: Readonly<Record<string, number>> }

export interface Results {
  readonly node: string
  readonly machine: string
  readonly date: string
  /** A smoke run: its figures say nothing. */
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

/**
 * `samples` of each contender, round by round; the first contender is what the others are compared
 * with.
 */
export function rowsOf(samples: ReadonlyMap<string, readonly Sample[]>): Row[] {
  const [first = []] = samples.values()
  return [...samples].map(([contender, rounds]) => {
    const units = Object.keys(typeof rounds[0] === 'object' ? rounds[0].more : {})
    const more = units.map(
      (unit) => [unit, figureOf(valuesOf(rounds, unit), valuesOf(first, unit))] as const,
    )
    // A figure that a contender cannot give is left out, rather than told as something that JSON
    // does not know.
    const known = Object.fromEntries(more.filter(([, { value }]) => Number.isFinite(value)))
    return { contender, ...figureOf(valuesOf(rounds), valuesOf(first)), more: known }
  })
}

function valuesOf(rounds: readonly Sample[], unit?: string): number[] {
  return rounds.map((one) => {
    if (typeof one === 'number') return unit === undefined ? one : Number.NaN
    return unit === undefined ? one.value : (one.more[unit] ?? Number.NaN)
  })
}

function figureOf(values: readonly number[], base: readonly number[]): Figure {
  const ratio = median(values.map((value, round) => value / (base[round] ?? Number.NaN)))
  return {
    value: median(values),
    ratio: Number.isFinite(ratio) ? ratio : null,
    low: Math.min(...values),
    high: Math.max(...values),
  }
}

export const times = (ratio: number | null | undefined): string => ratio?.toFixed(2) ?? '–'

export const short = (value: number | undefined): string =>
  value !== undefined
    ? Number(value.toPrecision(value >= 1_000 ? 4 : 3)).toLocaleString('en-US', {
        maximumFractionDigits: 4,
      })
    : '–'

/** Units beside a table's own in which contenders are compared, too. */
const COMPARED: readonly string[] = [CPU, 'bytes/call']

/** For a terminal. */
export function printTable({ id, title, unit, rows }: Table): void {
  const units = [...new Set(rows.flatMap(({ more }) => Object.keys(more)))]
  const columns = units.flatMap((one) => (COMPARED.includes(one) ? [one, '×'] : [one]))
  const cells = rows.map(({ contender, value, ratio, low, high, more }) => [
    contender,
    short(value),
    times(ratio),
    low === high ? '' : `${short(low)} … ${short(high)}`,
    ...units.flatMap((one) =>
      COMPARED.includes(one)
        ? [short(more[one]?.value), times(more[one]?.ratio)]
        : [short(more[one]?.value)],
    ),
  ])
  const lines = [['', unit, '×', 'rounds', ...columns], ...cells]
  const widths =
    lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? []
  console.log(`\n${id}: ${title}`)
  for (const line of lines) {
    console.log(
      `  ${line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')}`,
    )
  }
}
