import { type Results, type Row, short } from './table.js'

/** What the library is to be measured by, held against one run. */
export interface Goal {
  readonly goal: string
  readonly aim: string
  readonly measured: string
  /** Undefined when the run did not measure it. */
  readonly met: boolean | undefined
  readonly beside: string
}

/** A figure out of the run; `NaN` when it is not there, which meets no goal. */
type Value = number

/** One run's figures by table and contender. */
export class Run {
  readonly #results: Results

  constructor(results: Results) {
    this.#results = results
  }
  row(table: string, contender: string): Row | undefined {
    return this.#results.tables
      .find(({ id }) => id === table)
      ?.rows.find((row) => row.contender === contender)
  }
  value(table: string, contender: string, more?: string): Value {
    const row = this.row(table, contender)
    return (more === undefined ? row?.value : row?.more[more]?.value) ?? Number.NaN
  }
  ratio(table: string, contender: string, more?: string): Value {
    const row = this.row(table, contender)
    return (more === undefined ? row?.ratio : row?.more[more]?.ratio) ?? Number.NaN
  }
  /** What `contender` has above `other`. */
  added(table: string, contender: string, other: string, more?: string): Value {
    return this.value(table, contender, more) - this.value(table, other, more)
  }
  /** `name 0.30, …` for those who took part. */
  peers(figure: (name: string) => Value, ...names: string[]): string {
    const known = names
      .map((name) => [name, figure(name)] as const)
      .filter(([, value]) => Number.isFinite(value))
    return known.map(([name, value]) => `${name} ${short(value)}`).join(', ')
  }
}

/** A figure, and what it must be. */
export type Test = readonly [Value, (value: number) => boolean]

/** A goal that is met when all its tests are. */
export const goal = (
  name: string,
  aim: string,
  measured: string,
  tests: readonly Test[],
  beside = '',
): Goal => {
  const known = tests.every(([value]) => Number.isFinite(value))
  return {
    goal: name,
    aim,
    measured: known ? measured : '–',
    met: known ? tests.every(([value, test]) => test(value)) : undefined,
    beside,
  }
}
export const atMost = (limit: number) => (value: number) => value <= limit
export const atLeast = (limit: number) => (value: number) => value >= limit
