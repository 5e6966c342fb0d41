import { EventEmitter } from 'node:events'
import Opossum from 'opossum'
import { now } from '../../core/index.js'
import { type Rates, reaches } from './rates.js'

/** opossum's own number. */
const BUCKETS = 10

/** What opossum's status has beside its types: it is how opossum itself counts. */
interface CountingStatus {
  readonly window: Opossum.Window
  increment(what: 'fires' | 'failures' | 'timeouts'): void
}

/** The verdicts of the last `windowMs`, in opossum's rolling buckets. */
export class VerdictWindow {
  readonly #bucketMs: number
  /** opossum begins a new bucket when this emits, instead of at the ticks of an interval. */
  readonly #turns = new EventEmitter()
  readonly #status: CountingStatus
  #since = now()
  /** Buckets begun since then. */
  #turned = 0
  /** Whether there may be failures or slow calls, so that somebody should look. */
  #isSuspect = false

  constructor(windowMs: number) {
    this.#bucketMs = windowMs / BUCKETS
    this.#status = Opossum.newStatus({
      rollingCountBuckets: BUCKETS,
      rollingCountTimeout: windowMs,
      rotateBucketController: this.#turns,
      // Each failure would sort the window's latencies, and a snapshot run every second.
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
    }) as unknown as CountingStatus
  }

  add(isFailure: boolean, isSlow = false): void {
    this.#pass()
    this.#status.increment('fires')
    if (isFailure) this.#status.increment('failures')
    // opossum has no count of its own for slow calls.
    if (isSlow) this.#status.increment('timeouts')
    if (isFailure || isSlow) this.#isSuspect = true
  }

  /** Whether at least `minimumCalls` are in the window and their shares reach one of the rates. */
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

  /** Whether no call has had a verdict in the window. */
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

  /** Begins as many buckets as the time since the last look has room for. */
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
