import { inTime, now, warn } from '../core/index.js'

/** Returned instead of a result if Redis was not asked, failed, or took too long. */
export const ALONE: unique symbol = Symbol('alone')

/** After this many failures within `WINDOW_MS`, Redis is not asked for `REST_MS`. */
const FAILURES = 3
const WINDOW_MS = 10_000
const REST_MS = 5_000

/** Counts of Redis operations. */
export interface OperationCounts {
  /** Operations that were started. */
  readonly operations: number
  /** Operations that failed or exceeded their time limit. */
  readonly failures: number
  /** Decisions that this process made alone, because Redis was unavailable or too slow. */
  readonly alone: number
}

/**
 * Runs Redis operations with a time limit and a circuit breaker. If Redis is down or slow, only a
 * few calls wait for the time limit; later ones skip Redis.
 */
export class Operations {
  readonly #limitMs: number
  readonly #counts = { operations: 0, failures: 0, alone: 0 }
  /** Times of the last failures, oldest first. */
  #failedAt: number[] = []
  #restUntil = 0
  /**
   * Whether the single trial operation after a rest is running. Meanwhile the others skip Redis.
   */
  #hasTrial = false
  #running = 0
  #onIdle: (() => void) | undefined

  constructor(limitMs: number) {
    this.#limitMs = limitMs
  }

  /** Runs an operation. Returns `ALONE` if it was not tried, failed, or took too long. */
  async run<T>(operation: () => Promise<T>): Promise<T | typeof ALONE> {
    const isTrial = this.#restUntil > 0
    if (isTrial && (this.#hasTrial || now() < this.#restUntil)) return this.alone()
    this.#hasTrial = isTrial
    this.#counts.operations++
    this.#running++
    const result = await attempt(operation, this.#limitMs)
    if (--this.#running === 0) this.#onIdle?.()
    if (isTrial) this.#hasTrial = false
    if (result === ALONE) return this.#failed(isTrial)
    if (isTrial) this.recovered()
    return result
  }

  /** Resolves when no operation is running, or after twice the time limit. */
  get idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve()
    const emptied = () =>
      new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
    return inTime(emptied, 2 * this.#limitMs, () => {})
  }

  /** Called when Redis is back. */
  recovered(): void {
    this.#restUntil = 0
    this.#failedAt = []
  }

  /** Counts a decision of this process alone. */
  alone(): typeof ALONE {
    this.#counts.alone++
    return ALONE
  }

  get counts(): OperationCounts {
    return { ...this.#counts }
  }

  #failed(isTrial: boolean): typeof ALONE {
    const at = now()
    this.#counts.failures++
    this.#failedAt = [...this.#failedAt.slice(1 - FAILURES), at]
    const isBurst =
      this.#failedAt.length === FAILURES && at - (this.#failedAt[0] as number) < WINDOW_MS
    if (isTrial || isBurst) this.#restUntil = at + REST_MS
    warn(
      'redisShared: Redis failed or did not answer in time; this process decides alone until it is back.',
    )
    return this.alone()
  }
}

/** Runs an operation. Returns `ALONE` if it fails or takes longer than the limit. */
export async function attempt<T>(
  operation: () => Promise<T>,
  limitMs: number,
): Promise<T | typeof ALONE> {
  try {
    return await inTime(operation, limitMs, () => ALONE)
  } catch {
    return ALONE
  }
}
