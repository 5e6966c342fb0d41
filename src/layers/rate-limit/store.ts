import type { LimitUnit, MaybePromise } from '../../core/index.js'
import type { Amounts, Limits, Rate } from './limits.js'

/** What is left of one limit for one key. */
export interface LimitLevel {
  readonly unit: LimitUnit
  /** Amount allowed in any `intervalMs`. */
  readonly limit: number
  /** Length of the interval. Milliseconds. */
  readonly intervalMs: number
  /** Amount that may be used at once now, rounded down. */
  readonly remaining: number
  /** Time until the full burst is available again. Milliseconds. */
  readonly resetMs: number
}

/** What a store has granted to a call. The call returns it once, when it has ended. */
export interface Reservation {
  readonly granted: true
  /** Set when this process decided alone because the shared state was unreachable. */
  readonly alone?: boolean | undefined
}

/** A call would take more than there is. Nothing was taken. */
export interface Refusal {
  readonly granted: false
  /** The limit with the longest wait. */
  readonly unit: LimitUnit | 'cost' | undefined
  /** The rate of `unit`; undefined for `cost`, and for a limit of upstream. */
  readonly rate: Rate | undefined
  /**
   * When the call would be granted if nothing is returned before; `Infinity` for never.
   * Milliseconds.
   */
  readonly retryAfterMs: number
  /** Set when this process decided alone because the shared state was unreachable. */
  readonly alone?: boolean | undefined
}

/** What has been spent in a `cost` window, in the operator's unit. */
export interface Spent {
  readonly spent: number
  readonly limit: number
}

/**
 * Where the levels of all keys are kept. Never throws or rejects; if it cannot decide, it grants
 * the call.
 */
export interface LimitStore {
  /** Number of keys remembered. */
  readonly keys: number
  /**
   * Takes `amounts` from all limits, or from none of them. `ahead` is what calls waiting in front
   * of this one take; if there are any, the call is refused with the estimated wait behind them.
   */
  reserve(
    key: string,
    amounts: Amounts,
    limits: Limits,
    ahead: Amounts,
  ): MaybePromise<Reservation | Refusal>
  /**
   * The call has ended; `taken` is what it really used. Returns what has been spent when 80% of the
   * `cost` limit is reached, once per window.
   */
  settle(reservation: Reservation, taken: Amounts): MaybePromise<Spent | undefined>
  /** What is left of the limits on requests and tokens, as far as this process knows. */
  levels(key: string, limits: Limits): readonly LimitLevel[]
  /** Called when no more calls will come. */
  close?(): void
}
