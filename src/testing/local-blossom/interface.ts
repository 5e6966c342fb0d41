import type { Fault } from './faults.js'
import type { LocalBlossomRequest } from './record.js'

/** A running local Blossom. Its functions can be used without `this`. */
export interface LocalBlossom extends AsyncDisposable {
  /**
   * Its address, such as `http://127.0.0.1:49152`, without a trailing slash. OpenAI clients use
   * `${url}/v1`.
   */
  readonly url: string
  readonly port: number
  /** The last 10,000 requests, in the order in which their heads arrived. Always the same array. */
  readonly requests: readonly LocalBlossomRequest[]
  /**
   * Faults for upcoming requests, first in, first out: `blossom.faults.push({ status: 503 }, {
   * status: 503 })`.
   */
  readonly faults: Fault[]
  /** Number of requests being answered now. */
  readonly active: number
  /** Maximum number of concurrent requests since the start or `reset()`. */
  readonly maxActive: number
  /**
   * Number of generations started since the start or `reset()`. Answers from the cache, requests
   * that joined another, and faults that replace the answer start none.
   */
  readonly generations: number
  /** Queues one fault. @throws {ConfigError} (`CONFIG`) for an unknown field or an invalid value */
  fault(fault: Fault): void
  /**
   * Queues an error answer for the next request, or for the next `times` requests:
   * `blossom.fail(503, 2)`.
   * @default times 1
   */
  fail(status: number, times?: number): void
  /**
   * Resolves as soon as the predicate returns true. Calls it now and at every change, without
   * polling. Rejects with an Error after `timeoutMs` (real milliseconds, even with fake timers),
   * when the predicate throws, and at `close()`.
   * @default timeoutMs 2000
   */
  waitFor(predicate: (blossom: LocalBlossom) => boolean, timeoutMs?: number): Promise<void>
  /**
   * Clears requests, faults, cached answers, counters and the rate. Requests being answered
   * continue, but are no longer listed.
   */
  reset(): void
  /**
   * Stops listening, ends every connection and timer, and resolves when all is done. Calling it
   * again returns the same promise.
   */
  close(): Promise<void>
}
