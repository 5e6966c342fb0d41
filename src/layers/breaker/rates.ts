/** The shares of calls at which a circuit opens. */
export interface Rates {
  readonly failureRate: number
  /** `Infinity` when slow calls do not count. */
  readonly slowRate: number
}

/** The number of calls, and how they ended. */
export interface Counts {
  readonly calls: number
  readonly failures: number
  readonly slow: number
}

/** Whether one of the rates is reached, so that the circuit opens. */
export function reaches({ calls, failures, slow }: Counts, rates: Rates): boolean {
  return (
    (failures > 0 && failures / calls >= rates.failureRate) ||
    (slow > 0 && slow / calls >= rates.slowRate)
  )
}
