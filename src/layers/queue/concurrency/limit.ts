/** What a limit learns of a call whose answer has begun. */
export interface Answered {
  /** When the call began. */
  readonly beganAt: number
  /** How long it took to its answer, of a stream to its first token. Milliseconds. */
  readonly ms: number
  /** What it can be compared with: calls of the same kind. */
  readonly kind: string
}

/** How many calls may be in progress. */
export interface Limit {
  readonly current: number
  /** Whether it learns from calls. */
  readonly isAdaptive: boolean
  /** The answer to a call has begun. `inProgress`: with this one. */
  answered(call: Answered, inProgress: number): void
  /** Upstream could not take a call: it was one too many, or upstream is short of something. */
  overloaded(inProgress: number): void
}

/** A limit that the operator has set. */
export class FixedLimit implements Limit {
  readonly current: number
  readonly isAdaptive = false

  constructor(concurrency: number) {
    this.current = concurrency
  }

  answered(): void {}

  overloaded(): void {}
}
