import type { Fault } from './faults.js'
import type { LocalBlossomRequest } from './record.js'

/** A running local Blossom. Its functions need no `this`. */
export interface LocalBlossom extends AsyncDisposable {
  /**
   * Where it listens, such as `http://127.0.0.1:49152`, without a slash at the end; OpenAI clients
   * take `${url}/v1`.
   */
  readonly url: string
  readonly port: number
  /**
   * The requests so far, in the order their heads arrived: the last 10,000, and the same array all
   * the time.
   */
  readonly requests: readonly LocalBlossomRequest[]
  /**
   * Faults for the requests to come, first in first out: `blossom.faults.push({ status: 503 }, {
   * status: 503 })`.
   */
  readonly faults: Fault[]
  /** Requests being answered now. */
  readonly active: number
  /** Most requests that were being answered at the same time, since the start or `reset()`. */
  readonly maxActive: number
  /**
   * Generations begun, since the start or `reset()`: answers from the cache and joined requests
   * begin none, nor do stand-in faults.
   */
  readonly generations: number
  /** Queues one fault. @throws {ConfigError} when the fault has an unknown field or a wrong value. */
  fault(fault: Fault): void
  /**
   * Queues an error answer for the next request, or the next `times`: `blossom.fail(503, 2)`.
   * @default times 1
   */
  fail(status: number, times?: number): void
  /**
   * Resolves as soon as the predicate is true; it is asked now and at every change, without
   * polling. Rejects with an Error after `timeoutMs` (real milliseconds, also under fake timers),
   * when the predicate throws, and at `close()`.
   * @default timeoutMs 2000
   */
  waitFor(predicate: (blossom: LocalBlossom) => boolean, timeoutMs?: number): Promise<void>
  /**
   * Forgets requests, faults, cached answers, counts and the rate; requests being answered go on,
   * unlisted.
   */
  reset(): void
  /**
   * Stops listening, ends every connection and timer, and resolves when all is done. Harmless
   * twice: the same promise.
   */
  close(): Promise<void>
}
