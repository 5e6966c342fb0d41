/** The shares of calls at which a circuit opens. */
export interface Rates {
  readonly failureRate: number
  /** `Infinity`: slow calls do not count. */
  readonly slowRate: number
}

/** What calls have come to. */
export interface Counts {
  readonly calls: number
  readonly failures: number
  readonly slow: number
}

/** Whether so many of the calls have failed, or were slow, that the circuit opens. */
export function reaches({ calls, failures, slow }: Counts, rates: Rates): boolean {
  return (
    (failures > 0 && failures / calls >= rates.failureRate) ||
    (slow > 0 && slow / calls >= rates.slowRate)
  )
}
