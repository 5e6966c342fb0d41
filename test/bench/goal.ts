import { addedTo, markdown, median, type Results, ratioOf, short, times } from './table.js'

/** One run's figures by table, contender and unit; `NaN` for what was not measured. */
export class Run {
  readonly #results: Results

  constructor(results: Results) {
    this.#results = results
  }

  rounds(table: string, contender: string, unit?: string): readonly number[] {
    const row = this.#results.tables
      .find(({ id }) => id === table)
      ?.rows.find((row) => row.contender === contender)
    return (unit === undefined ? row?.rounds : row?.more[unit]) ?? []
  }
  value(table: string, contender: string, unit?: string): number {
    return median(this.rounds(table, contender, unit))
  }
  /** Of all rounds: what a busy machine adds is in none of them to the full. */
  least(table: string, contender: string, unit?: string): number {
    const rounds = this.rounds(table, contender, unit)
    return rounds.length === 0 ? Number.NaN : Math.min(...rounds)
  }
  ratio(table: string, contender: string, beside: string, unit?: string): number {
    return ratioOf(this.rounds(table, contender, unit), this.rounds(table, beside, unit))
  }
  /** What `contender` has above `beside`. */
  added(table: string, contender: string, beside: string, unit?: string): number {
    return addedTo(this.rounds(table, contender, unit), this.rounds(table, beside, unit))
  }
  /** What `contender` adds to `base`, as a multiple of what `beside` adds. */
  addedRatio(table: string, contender: string, beside: string, base: string): number {
    const added = (name: string) => {
      const bases = this.rounds(table, base)
      return this.rounds(table, name).map((value, round) => value - (bases[round] ?? Number.NaN))
    }
    return ratioOf(added(contender), added(beside))
  }
}

/** A measured figure and its limit. */
export interface Figure {
  readonly value: number
  readonly limit: number
  readonly better: 'less' | 'more'
  readonly unit: string
}

export const atMost = (limit: number, value: number, unit = '×'): Figure => ({
  value,
  limit,
  better: 'less',
  unit,
})
export const atLeast = (limit: number, value: number, unit = '×'): Figure => ({
  value,
  limit,
  better: 'more',
  unit,
})

/** What the library is to be measured by, held against a run. */
export interface Goal {
  readonly name: string
  readonly figures: readonly Figure[]
  /** What others reach. */
  readonly beside: string
}

export const goal = (name: string, figures: readonly Figure[], beside = ''): Goal => ({
  name,
  figures,
  beside,
})

/** `name 0.30, …` for those who took part. */
export const peers = (figure: (name: string) => number, ...names: readonly string[]): string =>
  names
    .map((name) => [name, figure(name)] as const)
    .filter(([, value]) => Number.isFinite(value))
    .map(([name, value]) => `${name} ${short(value)}`)
    .join(', ')

const holds = ({ value, limit, better }: Figure): boolean =>
  better === 'less' ? value <= limit : value >= limit

/** Whether every figure is within its limit; undefined when one was not measured. */
export const isMet = ({ figures }: Goal): boolean | undefined =>
  figures.every(({ value }) => Number.isFinite(value)) ? figures.every(holds) : undefined

const isWorse = (one: Figure, other: Figure): boolean =>
  Number.isNaN(one.value) ||
  (one.better === 'less' ? one.value > other.value : one.value < other.value)

/** The same goals held against several runs: of each figure the worst. */
export function worst(runs: readonly (readonly Goal[])[]): Goal[] {
  const [first = [], ...others] = runs
  return first.map((goal, index) => {
    let worst = goal
    for (const run of others) {
      const other = run[index] ?? goal
      const figures = worst.figures.map((figure, i) => {
        const next = other.figures[i] ?? figure
        return isWorse(next, figure) ? next : figure
      })
      // What others reach is told of the run that decides the first figure.
      const { beside } = figures[0] === worst.figures[0] ? worst : other
      worst = { ...worst, figures, beside }
    }
    return worst
  })
}

export function written(value: number, unit: string): string {
  if (!Number.isFinite(value)) return '–'
  const text = unit === '×' ? times(value) : short(value)
  return unit === '' ? text : `${text} ${unit}`
}

/** Goals as a table for the terminal. */
export const goalsTable = (goals: readonly Goal[]): string =>
  markdown(
    ['goal', 'aim', 'measured', 'met', 'beside'],
    goals.map((goal) => {
      const { name, figures, beside } = goal
      const met = isMet(goal)
      return [
        name,
        figures
          .map(
            ({ limit, better, unit }) => `${better === 'less' ? '≤' : '≥'} ${written(limit, unit)}`,
          )
          .join(', '),
        figures.map(({ value, unit }) => written(value, unit)).join(', '),
        met === undefined ? '–' : met ? 'yes' : '**no**',
        beside,
      ]
    }),
  )
