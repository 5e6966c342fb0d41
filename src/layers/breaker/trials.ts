import { now } from '../../core/index.js'
import { type Rates, reaches } from './rates.js'

/** Leave to run one call. A verdict counts only while its permit does. */
export interface Permit {
  /** The circuit's period it was given in. */
  readonly period: number
  readonly trial: boolean
  /** A trial that other processes could not be asked for. */
  alone?: boolean
}

/** The permit of a trial. */
interface Trial extends Permit {
  readonly at: number
}

/** The calls that a half-open circuit lets through, and what comes of them. */
export class Trials {
  readonly #count: number
  readonly #rates: Rates
  /** Those without a verdict, the oldest first. */
  readonly #running = new Set<Permit>()
  #ended = 0
  #failures = 0
  #slow = 0

  constructor(count: number, rates: Rates) {
    this.#count = count
    this.#rates = rates
  }

  /**
   * A permit; or, when all are given, the milliseconds until another call may have the oldest
   * trial's, which it loses when it has no verdict within `timeoutMs`.
   */
  enter(period: number, timeoutMs: number): Permit | number {
    const at = now()
    if (this.#ended + this.#running.size >= this.#count) {
      const oldest = this.#oldest
      const left = oldest.at + timeoutMs - at
      if (left > 0) return left
      // Its late verdict is ignored.
      this.#running.delete(oldest)
    }
    const trial: Trial = { period, trial: true, at }
    this.#running.add(trial)
    return trial
  }

  /** Whether none runs, and none has had a verdict. */
  get isIdle(): boolean {
    return this.#ended === 0 && this.#running.size === 0
  }

  get #oldest(): Trial {
    // While no more may enter and nothing is decided, some of them run.
    return this.#running.values().next().value as Trial
  }

  /** What the circuit becomes with this verdict; undefined while that is not decided. */
  settle(
    permit: Permit,
    verdict: 'success' | 'failure' | undefined,
    isSlow: boolean,
  ): 'open' | 'closed' | undefined {
    if (!this.#running.delete(permit) || verdict === undefined) return undefined
    this.#ended++
    if (verdict === 'failure') this.#failures++
    if (isSlow) this.#slow++
    if (this.#reaches(0)) return 'open'
    return this.#reaches(this.#count - this.#ended) ? undefined : 'closed'
  }

  /** Whether the rate is reached, of all trials, if so many more fail and are slow. */
  #reaches(more: number): boolean {
    const failures = this.#failures + more
    return reaches({ calls: this.#count, failures, slow: this.#slow + more }, this.#rates)
  }

  clear(): void {
    this.#running.clear()
    this.#ended = 0
    this.#failures = 0
    this.#slow = 0
  }
}
