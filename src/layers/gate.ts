import { isStackError, now, RateLimitError } from '../core/index.js'

/** After a refusal that names no time: doubled each time up to the longest. Milliseconds. */
const PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 8_000
/** Of that, so much more at random: others who were refused as well must not come all at once. */
const JITTER = 0.25
/** Whatever time a refusal names. Milliseconds. */
const LONGEST_MS = 60_000
/** So many calls at once are no trial any more. */
const ALL = 1_024

/**
 * Lets calls through until upstream refuses one for the number of calls. Then it is shut for a
 * while, and opens little by little: for one call beside those that were in progress, and for twice
 * as many with each success.
 */
export class Gate {
  readonly #random: () => number
  #shutUntil = 0
  /** Times it was shut: a call's pass is the number of its time. */
  #times = 0
  /** Times it was shut since a call succeeded. */
  #inARow = 0
  /** Calls that may be in progress, of those that began since it was shut. */
  #allowed = Number.POSITIVE_INFINITY
  #inProgress = 0

  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  /** The moment from which calls may begin; it may have passed. */
  get opensAt(): number {
    return this.#shutUntil
  }

  get isShut(): boolean {
    return this.#shutUntil > 0 && now() < this.#shutUntil
  }

  /** Whether a call may begin. */
  get isOpen(): boolean {
    return !this.isShut && this.#inProgress < this.#allowed
  }

  /** A call begins. Returns its pass. */
  begin(): number {
    this.#inProgress++
    return this.#times
  }

  /** Whether a call with this pass, which has not begun to run, may do so. */
  accepts(pass: number): boolean {
    return pass === this.#times && !this.isShut
  }

  /** The answer to a call has begun: upstream has taken it. */
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
   * Upstream has refused a call. `slowly`: whether it opens little by little. Returns whether it is
   * shut for longer than before.
   */
  refused(pass: number, retryAfter: number | undefined, slowly: boolean): boolean {
    const isFirst = pass === this.#times && !this.isShut
    // The others of a burst may name a longer time, and are no reason for one otherwise.
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

/** Why a call is refused that cannot wait until its gate opens. */
export function shutError(layer: string, opensAt: number): RateLimitError {
  const delayMs = opensAt - now()
  const sentence = `Upstream limits calls: the next may begin in ${Math.ceil(delayMs)} ms, too late for this one; try again then.`
  return new RateLimitError(sentence, { layer, refused: true, retryAfter: delayMs })
}

/** What upstream asked for when it refused a call for their number; undefined for another failure. */
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
    // A foreign error may be anything, a proxy too, of which any reading may throw.
    return undefined
  }
}
