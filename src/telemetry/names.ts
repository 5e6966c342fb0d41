/** The label value of all names above the limit. */
const OTHER = 'other'

/** Unpaired surrogates, which would all become the same character in UTF-8. */
const LONE_SURROGATES = /\p{Surrogate}/gu

/**
 * Limits the values of a label whose names are chosen by callers. Each value is a time series, so
 * only the first ones are used; later ones become `other`.
 */
export class Names {
  readonly #limit: number
  readonly #known = new Map<string, string>()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** The label value for a name; an empty string for `undefined`. */
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
