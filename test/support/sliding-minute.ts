/** What is taken of a limit, or comes back to it (below 0). */
export interface Taken {
  /** Milliseconds. */
  readonly at: number
  readonly amount: number
}

export const MINUTE = 60_000

/** By how much the worst minute is above 1.17 times the limit and its dearest call. */
export function excess(all: readonly Taken[], limit: number): number {
  let worst = Number.NEGATIVE_INFINITY
  for (let from = 0; from < all.length; from++) {
    let sum = 0
    let dearest = 0
    for (let i = from; i < all.length; i++) {
      const { at, amount } = all[i] as Taken
      if (at > (all[from] as Taken).at + MINUTE) break
      sum += amount
      dearest = Math.max(dearest, amount)
      worst = Math.max(worst, sum - 1.17 * limit - dearest)
    }
  }
  return worst
}
