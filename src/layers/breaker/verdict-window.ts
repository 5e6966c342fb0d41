import { EventEmitter } from 'node:events'
import Opossum from 'opossum'
import { now } from '../../core/index.js'
import { type Rates, reaches } from './rates.js'

/** opossum's default. */
const BUCKETS = 10

/** Parts of opossum's status that its types omit. opossum itself counts this way. */
interface CountingStatus {
  readonly window: Opossum.Window
  increment(what: 'fires' | 'failures' | 'timeouts'): void
}

/** The verdicts of the last `windowMs`, in opossum's rolling buckets. */
export class VerdictWindow {
  readonly #bucketMs: number
  /** opossum starts a new bucket when this emits, instead of at an interval. */
  readonly #turns = new EventEmitter()
  readonly #status: CountingStatus
  #since = now()
  /** Number of buckets started since `#since`. */
  #turned = 0
  /** Whether the window may contain failures or slow calls, so that the rates must be checked. */
  #isSuspect = false

  constructor(windowMs: number) {
    this.#bucketMs = windowMs / BUCKETS
    this.#status = Opossum.newStatus({
      rollingCountBuckets: BUCKETS,
      rollingCountTimeout: windowMs,
      rotateBucketController: this.#turns,
      // Otherwise opossum would sort all latencies at each failure, and take a snapshot every
      // second.
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
    }) as unknown as CountingStatus
  }

  add(isFailure: boolean, isSlow = false): void {
    this.#pass()
    this.#status.increment('fires')
    if (isFailure) this.#status.increment('failures')
    // opossum has no counter for slow calls, so this uses that of timeouts.
    if (isSlow) this.#status.increment('timeouts')
    if (isFailure || isSlow) this.#isSuspect = true
  }

  /** Whether the window has at least `minimumCalls` and one of the rates is reached. */
  reaches(minimumCalls: number, rates: Rates): boolean {
    if (!this.#isSuspect) return false
    this.#pass()
    let calls = 0
    let failures = 0
    let slow = 0
    for (const bucket of this.#status.window) {
      calls += bucket.fires
      failures += bucket.failures
      slow += bucket.timeouts
    }
    this.#isSuspect = failures > 0 || slow > 0
    return calls >= minimumCalls && reaches({ calls, failures, slow }, rates)
  }

  /** Whether no call counts in the window. */
  get isEmpty(): boolean {
    this.#pass()
    return this.#status.window.every(({ fires }) => fires === 0)
  }

  clear(): void {
    this.#turn(BUCKETS)
    this.#since = now()
    this.#turned = 0
    this.#isSuspect = false
  }

  /** Starts the buckets that are due since the last check. */
  #pass(): void {
    const turned = Math.floor((now() - this.#since) / this.#bucketMs)
    if (turned === this.#turned) return
    this.#turn(Math.min(BUCKETS, turned - this.#turned))
    this.#turned = turned
  }

  #turn(times: number): void {
    for (let i = 0; i < times; i++) this.#turns.emit('rotate')
  }
}
