/** What a call wants of one limit of a key. */
export interface LimitOrder {
  /** Tells the limits of a key apart. */
  readonly unit: string
  /** What the call takes. */
  readonly need: number
  /** It is given up to so much when that is there: at least `need`. */
  readonly want: number
  /** A bucket that holds so much and fills so fast, or a window with its end and what it allows. */
  readonly of: BucketTerms | WindowTerms
}

/** A bucket that fills evenly. */
export interface BucketTerms {
  /** How much it holds. */
  readonly capacity: number
  /** How much comes in a millisecond. */
  readonly perMs: number
  /** No correction takes it further below 0. */
  readonly debt: number
}

/** A calendar window, or one of a fixed length. */
export interface WindowTerms {
  /** Its start, in milliseconds since the epoch. */
  readonly start: number
  /** Milliseconds since the epoch. */
  readonly end: number
  /** How much may be spent in it. */
  readonly limit: number
}

/** What has become of one order. */
export interface LimitReply {
  /** Of what was granted; 0 when the call is refused. */
  readonly given: number
  /** How long it would have to wait for this limit alone; `Infinity`: for ever. Milliseconds. */
  readonly waitMs: number
  /** What is left in the bucket, or has been spent in the window. */
  readonly level: number
}

/** What a call has taken beside what it was given: more when above 0, less below it. */
export interface LimitCorrection {
  readonly unit: string
  readonly amount: number
  readonly of: BucketTerms | WindowTerms
}

/** The levels of limits that several processes have together. */
export interface SharedLimits {
  /** How many processes there are, or were when last heard of. */
  readonly processes: number
  /**
   * Takes from all of the limits, or nothing from any of them. A reply for each order; null when
   * nobody could be asked.
   */
  take(key: string, orders: readonly LimitOrder[]): Promise<readonly LimitReply[] | null>
  /**
   * Corrects what was taken, once, unless nobody can be reached for a minute. Resolves with what
   * has been spent in a window, once a window, when four fifths of it are.
   */
  correct(key: string, corrections: readonly LimitCorrection[]): Promise<number | undefined>
}
