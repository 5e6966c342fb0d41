import { inTime, now, warn } from '../core/index.js'

/** In place of a result: Redis was not asked, failed, or took too long. */
export const ALONE: unique symbol = Symbol('alone')

/** So many failures within so long, and Redis is not asked for a while. Milliseconds. */
const FAILURES = 3
const WINDOW_MS = 10_000
const REST_MS = 5_000

/** What has been asked of Redis. */
export interface OperationCounts {
  /** Operations that were begun. */
  readonly operations: number
  /** Of them, those that failed or took too long. */
  readonly failures: number
  /** Decisions of this process alone, as Redis could not be asked or did not answer in time. */
  readonly alone: number
}

/**
 * Operations of Redis, each with a time limit, behind a breaker of their own: a Redis that is down,
 * slow or frozen costs a few calls that time, and then nobody.
 */
export class Operations {
  readonly #limitMs: number
  readonly #counts = { operations: 0, failures: 0, alone: 0 }
  /** When the last ones failed, oldest first. */
  #failedAt: number[] = []
  #restUntil = 0
  /** After a rest one operation goes ahead, and the others wait for what becomes of it. */
  #hasTrial = false
  #running = 0
  #onIdle: (() => void) | undefined

  constructor(limitMs: number) {
    this.#limitMs = limitMs
  }

  /** What the operation gives; `ALONE` when it was not tried, failed, or took too long. */
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

  /** Resolves when no operation runs, or when each has had its time and one that follows it, too. */
  get idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve()
    const emptied = () =>
      new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
    return inTime(emptied, 2 * this.#limitMs, () => {})
  }

  /** Redis is known to be back. */
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

/** What an operation gives; `ALONE` when it fails or takes longer. */
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
