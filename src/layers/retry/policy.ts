import {
  atOnce,
  type Context,
  type ContextPatch,
  ELSEWHERE,
  hookFailed,
  isJsonData,
  isStream,
  remaining,
  runHook,
  sleep,
} from '../../core/index.js'
import { fullJitter } from './backoff.js'
import type { RetryBudget } from './budget.js'
import { RefusedAnswer } from './refused-answer.js'
import { isRetryable, retryAfterOf } from './retryable.js'

export interface PolicyOptions {
  name: string
  retries: number
  minDelayMs: number
  maxDelayMs: number
  maxRetryAfterMs: number
  when: ((error: unknown, attempt: number) => boolean) | undefined
  accept: ((answer: unknown) => boolean) | undefined
  onRetry: ((retry: { error: unknown; attempt: number; delayMs: number }) => void) | undefined
  random: () => number
}

/** The rules of one `retry()`: which failures are retried, after which wait; and its counters. */
export class RetryPolicy {
  readonly name: string
  readonly retries: number
  readonly budget: RetryBudget | undefined
  /** Gives inner layers access to the budget. */
  readonly share: ContextPatch | undefined
  readonly stats = { retries: 0, exhausted: 0, refused: 0 }
  readonly #options: PolicyOptions

  constructor(options: PolicyOptions, budget: RetryBudget | undefined) {
    this.name = options.name
    this.retries = options.retries
    this.budget = budget
    this.share = budget && { retryBudget: budget }
    this.#options = options
  }

  /**
   * Waits for the time of the next attempt after the `attempt`-th. Resolves with false when there
   * is none. Rejects with the reason when the caller aborts.
   */
  async waitForNext(error: unknown, attempt: number, context: Context): Promise<boolean> {
    const { cancel, closing } = context
    if (cancel.aborted || closing.aborted || !this.#isWorthIt(error, attempt)) return false
    const delayMs = this.#delayOf(error, attempt, context)
    if (delayMs === undefined) {
      this.stats.refused++
      return false
    }
    this.#notify(error, attempt, delayMs, context)
    try {
      await sleep(delayMs, cancel, closing)
    } catch (reason) {
      // If the stack closes during the wait, the call fails with the original error.
      if (!cancel.aborted) return false
      throw reason
    }
    // Either may have happened at the very moment the wait ended.
    cancel.throwIfAborted()
    return !closing.aborted
  }

  /**
   * Whether an answer is good enough. Streams are not judged, because they have already started.
   */
  accepts(answer: unknown): boolean {
    const { accept } = this.#options
    if (accept === undefined || isStream(answer)) return true
    try {
      return atOnce(accept(isJsonData(answer) ? answer.data.value : answer))
    } catch (thrown) {
      hookFailed('retry: accept()', thrown)
      return true
    }
  }

  #isWorthIt(error: unknown, attempt: number): boolean {
    const { when } = this.#options
    if (when === undefined || error instanceof RefusedAnswer) return isRetryable(error)
    try {
      return atOnce(when(error, attempt))
    } catch (thrown) {
      hookFailed('retry: when()', thrown)
      return isRetryable(error)
    }
  }

  /** Undefined when upstream asks for too long a wait, or when time or budget does not suffice. */
  #delayOf(error: unknown, attempt: number, context: Context): number | undefined {
    const { minDelayMs, maxRetryAfterMs, random } = this.#options
    const asked = context.meta.get(ELSEWHERE) === true ? undefined : retryAfterOf(error)
    if (asked === undefined) {
      const delayMs = fullJitter(attempt, this.#options)
      return delayMs < remaining(context) && this.budget?.take() !== false ? delayMs : undefined
    }
    // Adds jitter to the requested wait, because otherwise all callers with the same wait return at
    // once.
    const delayMs = asked + random() * minDelayMs
    return asked <= maxRetryAfterMs && delayMs < remaining(context) ? delayMs : undefined
  }

  #notify(error: unknown, attempt: number, delayMs: number, { trace }: Context): void {
    trace?.retry(this.name, attempt, delayMs, error)
    const { onRetry } = this.#options
    if (onRetry) runHook('retry: onRetry()', () => onRetry({ error, attempt, delayMs }))
  }
}
