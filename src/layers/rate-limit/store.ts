import type { LimitUnit, MaybePromise } from '../../core/index.js'
import type { Amounts, Limits, Rate } from './limits.js'

/** What is left of one limit for one key. */
export interface LimitLevel {
  readonly unit: LimitUnit
  /** How much is allowed in any `intervalMs`. */
  readonly limit: number
  /** Milliseconds. */
  readonly intervalMs: number
  /** How much may go at once now, in whole. */
  readonly remaining: number
  /** Time until as much may go at once as ever. Milliseconds. */
  readonly resetMs: number
}

/** What a store has granted to a call. It goes back to the store once, when the call has ended. */
export interface Reservation {
  readonly granted: true
  /** This process has decided alone, as the others could not be asked. */
  readonly alone?: boolean | undefined
}

/** That a call would take more than there is. Nothing was taken. */
export interface Refusal {
  readonly granted: false
  /** The limit that keeps the call longest. */
  readonly unit: LimitUnit | 'cost' | undefined
  /** Of `unit`; undefined for `cost`, and where upstream has set the limit. */
  readonly rate: Rate | undefined
  /** When the call would be granted if nothing came back before; `Infinity`: never. Milliseconds. */
  readonly retryAfterMs: number
  /** This process has decided alone, as the others could not be asked. */
  readonly alone?: boolean | undefined
}

/** What has been spent in a window of `cost`, in the operator's unit. */
export interface Spent {
  readonly spent: number
  readonly limit: number
}

/**
 * Where the levels of all keys are kept. It never throws or rejects: what it cannot decide by itself
 * it grants.
 */
export interface LimitStore {
  /** How many keys it remembers. */
  readonly keys: number
  /**
   * Takes `amounts` from all of the limits, or nothing from any of them. `ahead` is what those take
   * who wait before the call: while there are any it is refused, with the wait behind them.
   */
  reserve(
    key: string,
    amounts: Amounts,
    limits: Limits,
    ahead: Amounts,
  ): MaybePromise<Reservation | Refusal>
  /**
   * The call has ended: `taken` is what it really took. Returns what has been spent once in each
   * window, when four fifths of its `cost` are reached.
   */
  settle(reservation: Reservation, taken: Amounts): MaybePromise<Spent | undefined>
  /** What is left of the limits of requests and tokens, as far as this process knows. */
  levels(key: string, limits: Limits): readonly LimitLevel[]
  /** Nobody asks any more. */
  close?(): void
}
