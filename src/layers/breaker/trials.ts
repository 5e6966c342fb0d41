import { now } from '../../core/index.js'
import { type Rates, reaches } from './rates.js'

/** Permission to run one call. Its verdict counts only while the permit is valid. */
export interface Permit {
  /** The circuit's period in which it was issued. */
  readonly period: number
  readonly trial: boolean
  /** Set for a trial that could not be claimed because the shared state was unreachable. */
  alone?: boolean
}

/** The permit of a trial. */
interface Trial extends Permit {
  readonly at: number
}

/** The trials of a half-open circuit, and their results. */
export class Trials {
  readonly #count: number
  readonly #rates: Rates
  /** Trials without a verdict, oldest first. */
  readonly #running = new Set<Permit>()
  #ended = 0
  #failures = 0
  #slow = 0

  constructor(count: number, rates: Rates) {
    this.#count = count
    this.#rates = rates
  }

  /**
   * Returns a permit. When all are taken, returns the milliseconds until the oldest trial expires.
   * A trial expires if it has not ended within `timeoutMs`. Another call then takes its place.
   */
  enter(period: number, timeoutMs: number): Permit | number {
    const at = now()
    if (this.#ended + this.#running.size >= this.#count) {
      const oldest = this.#oldest
      const left = oldest.at + timeoutMs - at
      if (left > 0) return left
      // Its late verdict will be ignored.
      this.#running.delete(oldest)
    }
    const trial: Trial = { period, trial: true, at }
    this.#running.add(trial)
    return trial
  }

  /** Whether no trial runs or has had a verdict. */
  get isIdle(): boolean {
    return this.#ended === 0 && this.#running.size === 0
  }

  get #oldest(): Trial {
    // When no more trials may enter and nothing is decided, at least one is running.
    return this.#running.values().next().value as Trial
  }

  /** Records a verdict. Returns the circuit's new state; undefined while undecided. */
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

  /** Whether a rate would be reached if this many further trials failed and were slow. */
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
