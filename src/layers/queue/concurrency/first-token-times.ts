import { LRUCache } from 'lru-cache'
import { LastValues } from '../../last-values.js'
import { Baseline } from './baseline.js'

/** Times that are compared with the baseline. */
const RECENT = 20
/** What is enough of them for a guess. */
const FEW = 4
/** They are late when their median is this many times the baseline. */
const LATE = 2
/** Up to this they are usual, and up to that nearly so. */
const USUAL = 1.25
const NEARLY_USUAL = 1.35
/** Kinds of calls whose baselines are kept. */
const KINDS = 100

/**
 * The times to the first token of the last calls beside those that are usual, for each kind of call,
 * as models and forms take different times. When they have doubled, calls wait for each other
 * inside upstream.
 */
export class FirstTokenTimes {
  readonly #baselines = new LRUCache<string, Baseline>({ max: KINDS })
  /** How many times its baseline each of the last calls took. */
  readonly #recent = new LastValues(RECENT)
  /** Calls that began before are not among them. */
  #since = Number.NEGATIVE_INFINITY
  /** Of the last calls, in baselines; 0 while there are none. */
  median = 0

  /**
   * `mayLearn`: whether the calls in progress cannot have made it longer. The first calls of a kind
   * are its baseline anyway.
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

  /** Whether the last calls took far longer than usual. */
  get isLate(): boolean {
    return this.#recent.count >= RECENT && this.median > LATE
  }

  /** The same, of fewer calls. */
  get seemsLate(): boolean {
    return this.#recent.count >= FEW && this.median > LATE
  }

  get isUsual(): boolean {
    return this.#recent.count >= FEW && this.median <= USUAL
  }

  /** Whether nothing shows that they take any longer. */
  get seemsUsual(): boolean {
    return this.median <= NEARLY_USUAL
  }

  /** Only calls that begin from now on are compared. */
  restart(at: number): void {
    this.#since = at
    this.#recent.clear()
    this.median = 0
  }

  /** What the last calls took is usual from now on. */
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
