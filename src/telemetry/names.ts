/** What all names beyond the limit are counted as. */
const OTHER = 'other'

/** Half of a pair of UTF-16 units: as UTF-8 they would all be the same character. */
const LONE_SURROGATES = /\p{Surrogate}/gu

/**
 * Names that callers choose, as values of a label. Each value is a time series that Prometheus keeps,
 * so only the first ones have their own.
 */
export class Names {
  readonly #limit: number
  readonly #known = new Map<string, string>()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** The label's value for a name; empty for none. */
  of(name: string | undefined): string {
    if (name === undefined) return ''
    const known = this.#known.get(name)
    if (known !== undefined) return known
    if (this.#known.size >= this.#limit) return OTHER
    const value = name.replace(LONE_SURROGATES, '\ufffd')
    this.#known.set(name, value)
    return value
  }
}
