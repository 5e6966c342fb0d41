import { LRUCache } from 'lru-cache'
import { LastValues } from '../../last-values.js'
import { Baseline } from './baseline.js'

/** How many durations are compared with the baseline. */
const RECENT = 20
/** How many are enough for a guess. */
const FEW = 4
/** Times are late when their median exceeds this multiple of the baseline. */
const LATE = 2
/** Up to this multiple times are usual, and up to the next one nearly usual. */
const USUAL = 1.25
const NEARLY_USUAL = 1.35
/** How many kinds of calls have a baseline. */
const KINDS = 100

/**
 * Compares the latest times to the first token with the usual ones, for each kind of call, because
 * models and forms differ. Doubled times mean that calls wait for each other inside upstream.
 */
export class FirstTokenTimes {
  readonly #baselines = new LRUCache<string, Baseline>({ max: KINDS })
  /** The latest durations, as multiples of their baseline. */
  readonly #recent = new LastValues(RECENT)
  /** Calls that started earlier are ignored. */
  #since = Number.NEGATIVE_INFINITY
  /** Median of the latest durations, as a multiple of the baseline; 0 while there are none. */
  median = 0

  /**
   * Records a duration. `mayLearn`: whether the number of calls in progress cannot have made it
   * longer. The first calls of a kind always set its baseline.
   */
  add(kind: string, ms: number, beganAt: number, mayLearn: boolean): void {
    const baseline = this.#baselineOf(kind)
    const isFirst = baseline.takes(beganAt, beganAt + ms)
    if (!isFirst && beganAt >= this.#since) this.#compare(ms / baseline.ms)
    if (isFirst || (mayLearn && this.isUsual)) baseline.learn(ms)
  }

  #compare(ratio: number): void {
    this.#recent.add(ratio)
    this.median = this.#recent.at(this.#recent.count >> 1)
  }

  /** Whether the latest calls took far longer than usual. */
  get isLate(): boolean {
    return this.#recent.count >= RECENT && this.median > LATE
  }

  /** The same, based on fewer calls. */
  get seemsLate(): boolean {
    return this.#recent.count >= FEW && this.median > LATE
  }

  get isUsual(): boolean {
    return this.#recent.count >= FEW && this.median <= USUAL
  }

  /** Whether there is no sign of longer times. */
  get seemsUsual(): boolean {
    return this.median <= NEARLY_USUAL
  }

  /** Compares only calls that start from now on. */
  restart(at: number): void {
    this.#since = at
    this.#recent.clear()
    this.median = 0
  }

  /** Makes the latest durations the new baseline. */
  accept(): void {
    for (const baseline of this.#baselines.values()) baseline.scale(this.median)
  }

  #baselineOf(kind: string): Baseline {
    let baseline = this.#baselines.get(kind)
    if (baseline === undefined) {
      baseline = new Baseline()
      this.#baselines.set(kind, baseline)
    }
    return baseline
  }
}
