import { isStackError, now, RateLimitError } from '../core/index.js'

/**
 * Pause after a rejection without a `Retry-After`: doubled each time, up to the maximum.
 * Milliseconds.
 */
const PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 8_000
/**
 * Random addition to the pause, as a share of it, so that rejected calls do not all return at once.
 */
const JITTER = 0.25
/** Longest pause, whatever time a rejection names. Milliseconds. */
const LONGEST_MS = 60_000
/** When this many calls are allowed at once, the limit is lifted. */
const ALL = 1_024

/**
 * Lets calls through until upstream rejects one for the number of calls. Then it closes for a
 * while, and reopens gradually: first for one call in addition to those in progress, then for twice
 * as many with each success.
 */
export class Gate {
  readonly #random: () => number
  #shutUntil = 0
  /** How many times it has closed. Each call keeps this number as its pass. */
  #times = 0
  /** How many times it has closed since the last success. */
  #inARow = 0
  /** How many calls may be in progress, of those that started since it closed. */
  #allowed = Number.POSITIVE_INFINITY
  #inProgress = 0

  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  /** When calls may start; possibly in the past. */
  get opensAt(): number {
    return this.#shutUntil
  }

  get isShut(): boolean {
    return this.#shutUntil > 0 && now() < this.#shutUntil
  }

  /** Whether a call may start. */
  get isOpen(): boolean {
    return !this.isShut && this.#inProgress < this.#allowed
  }

  /** Counts a call that starts. Returns its pass. */
  begin(): number {
    this.#inProgress++
    return this.#times
  }

  /** Whether a call with this pass that is not running yet may still run. */
  accepts(pass: number): boolean {
    return pass === this.#times && !this.isShut
  }

  /** The answer to a call has started, so upstream has accepted the call. */
  succeeded(pass: number): void {
    if (pass !== this.#times) return
    this.#inARow = 0
    if (this.#allowed < ALL) this.#allowed *= 2
    else this.#allowed = Number.POSITIVE_INFINITY
  }

  /** The call has ended, or will not run. */
  ended(pass: number): void {
    if (pass === this.#times) this.#inProgress--
  }

  /**
   * Upstream rejected a call. With `slowly` the gate reopens gradually. Returns whether it now
   * stays closed for longer than before.
   */
  refused(pass: number, retryAfter: number | undefined, slowly: boolean): boolean {
    const isFirst = pass === this.#times && !this.isShut
    // Later rejections of one burst can extend the pause, but only by naming a time.
    const pauseMs = retryAfter ?? (isFirst ? this.#backoff() : 0)
    const until = now() + Math.min(pauseMs, LONGEST_MS)
    if (isFirst) {
      this.#times++
      this.#inARow++
      this.#inProgress = 0
      this.#allowed = slowly ? 1 : Number.POSITIVE_INFINITY
    }
    if (until <= this.#shutUntil) return false
    this.#shutUntil = until
    return true
  }

  #backoff(): number {
    const ms = Math.min(LONGEST_PAUSE_MS, PAUSE_MS * 2 ** this.#inARow)
    return ms * (1 + JITTER * this.#random())
  }
}

/** The error of a call that cannot wait until its gate opens. */
export function shutError(layer: string, opensAt: number): RateLimitError {
  const delayMs = opensAt - now()
  const sentence = `Rejected: upstream is limiting calls, and the next one may start in ${Math.ceil(delayMs)} ms, too late for this call. Retry after ${Math.ceil(delayMs)} ms.`
  return new RateLimitError(sentence, { layer, refused: true, retryAfter: delayMs })
}

/** Reads a rejection for the number of calls from an error; undefined for any other failure. */
export function refusalIn(error: unknown): { readonly retryAfter: number | undefined } | undefined {
  try {
    if (!isStackError(error))
      return (Object(error) as { status?: unknown }).status === 429
        ? { retryAfter: undefined }
        : undefined
    if (error.code !== 'RATE_LIMITED' || error.refused) return undefined
    const { retryAfter = 0 } = error
    return { retryAfter: retryAfter > 0 ? retryAfter : undefined }
  } catch {
    // An error from outside may be a proxy that throws when read.
    return undefined
  }
}
