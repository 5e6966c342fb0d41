/** Data about a call whose answer has started. */
export interface Answered {
  /** When the call started. */
  readonly beganAt: number
  /** Time to the answer, or to the first token of a stream. Milliseconds. */
  readonly ms: number
  /** Identifies calls with comparable times. */
  readonly kind: string
}

/** Limits how many calls may be in progress. */
export interface Limit {
  readonly current: number
  /** Whether it learns from calls. */
  readonly isAdaptive: boolean
  /** The answer to a call has started. `inProgress` includes that call. */
  answered(call: Answered, inProgress: number): void
  /** Upstream could not handle a call. */
  overloaded(inProgress: number): void
}

/** A limit set by the operator. */
export class FixedLimit implements Limit {
  readonly current: number
  readonly isAdaptive = false

  constructor(concurrency: number) {
    this.current = concurrency
  }

  answered(): void {}

  overloaded(): void {}
}
