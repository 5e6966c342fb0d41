/** What a call takes from one limit of a key. */
export interface LimitOrder {
  /** Identifies the limit among those of a key. */
  readonly unit: string
  /** The amount the call needs. */
  readonly need: number
  /** The amount it takes if available; at least `need`. */
  readonly want: number
  /** The limit itself: a bucket or a window. */
  readonly of: BucketTerms | WindowTerms
}

/** A bucket that refills at a constant rate. */
export interface BucketTerms {
  /** The maximum level. */
  readonly capacity: number
  /** Refill per millisecond. */
  readonly perMs: number
  /** How far below 0 a correction may take it. */
  readonly debt: number
}

/** A calendar window, or a window of fixed length. */
export interface WindowTerms {
  /** Start, in milliseconds since the epoch. */
  readonly start: number
  /** End, in milliseconds since the epoch. */
  readonly end: number
  /** How much may be spent within the window. */
  readonly limit: number
}

/** The reply to one order. */
export interface LimitReply {
  /** The granted amount; 0 when the call is refused. */
  readonly given: number
  /**
   * How long this limit alone would make the call wait. Milliseconds; `Infinity` means forever.
   */
  readonly waitMs: number
  /** What is left in the bucket, or has been spent in the window. */
  readonly level: number
}

/** How much more a call used than it was given. Negative when it used less. */
export interface LimitCorrection {
  readonly unit: string
  readonly amount: number
  readonly of: BucketTerms | WindowTerms
}

/** The levels of limits that several processes share. */
export interface SharedLimits {
  /** How many processes there are, or were when last known. */
  readonly processes: number
  /**
   * Takes from all limits, or from none of them. Resolves with a reply per order, or with null when
   * the shared state could not be reached.
   */
  take(key: string, orders: readonly LimitOrder[]): Promise<readonly LimitReply[] | null>
  /**
   * Corrects an earlier `take()`, exactly once, unless the shared state is unreachable for a
   * minute. Resolves with the amount spent in a window when it has reached 80% of the limit, once
   * per window.
   */
  correct(key: string, corrections: readonly LimitCorrection[]): Promise<number | undefined>
}
