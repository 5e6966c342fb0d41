// p-retry runs the attempts from the second on. It stops after the last one allowed, or when
// `shouldRetry` returns false. Which failures are retried, how long to wait, and the wait itself
// are decided here (`policy.ts`), because p-retry has one formula for all failures and knows no
// deadline. It is used only after the first failure; otherwise each successful call would pay 6 µs
// for it.

import pRetry from 'p-retry'
import {
  type Context,
  type Handler,
  isStackError,
  KEEP,
  type MaybePromise,
  onEnd,
  proceed,
} from '../../core/index.js'
import type { BudgetSlice } from './budget.js'
import type { RetryPolicy } from './policy.js'
import { RefusedAnswer } from './refused-answer.js'
import { isRetryable } from './retryable.js'

/**
 * Wraps what an attempt threw while it passes through p-retry, which would replace values that are
 * not an `Error`, give up at any `TypeError`, and unwrap its own `AbortError`.
 */
class FailedAttempt extends Error {
  readonly thrown: unknown

  constructor(thrown: unknown) {
    super('An attempt failed.')
    this.thrown = thrown
  }
}

/** One call: its first attempt, its retries, and its place in the budget. */
export class Attempts<Request, Answer> {
  readonly #policy: RetryPolicy
  readonly #next: Handler<Request, Answer>
  readonly #request: Request
  readonly #context: Context
  readonly #began: BudgetSlice | undefined
  #made = 1
  /** The last failure other than a rejection before it ran. */
  #failure: unknown
  /** The last answer that `accept` rejected. */
  #refused: RefusedAnswer | undefined

  constructor(
    policy: RetryPolicy,
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
  ) {
    this.#policy = policy
    this.#next = next
    this.#request = request
    this.#context = policy.share === undefined ? context : context.derive(policy.share)
    this.#began = policy.budget?.begin()
  }

  run(): MaybePromise<Answer> {
    let answer: MaybePromise<Answer>
    try {
      answer = this.#next(this.#request, this.#context)
    } catch (error) {
      return this.#repeat(error)
    }
    return proceed<Answer, MaybePromise<Answer>>(
      answer,
      (value) => {
        const refused = this.#judge(value)
        return refused === undefined ? this.#hand(value) : this.#repeat(refused)
      },
      (error) => this.#repeat(error),
    ) as MaybePromise<Answer>
  }

  #judge(answer: Answer): RefusedAnswer | undefined {
    if (this.#policy.accepts(answer)) return undefined
    this.#refused = new RefusedAnswer(answer, this.#policy.name)
    return this.#refused
  }

  /** The answer has started. The call counts as running until it ends. */
  #hand(answer: Answer): Answer {
    return this.#began === undefined ? answer : onEnd(answer, this)
  }

  ended(): void {
    if (this.#began !== undefined) this.#policy.budget?.end(this.#began)
  }

  async #repeat(first: unknown): Promise<Answer> {
    const { retries } = this.#policy
    try {
      if (retries === 0 || !(await this.#policy.waitForNext(first, 1, this.#context))) throw first
      this.#failure = first
      return this.#hand(
        await pRetry((repeat) => this.#attempt(repeat + 1), {
          retries: retries - 1,
          minTimeout: 0,
          shouldRetry: ({ error, attemptNumber }) =>
            this.#policy.waitForNext(
              (error as FailedAttempt).thrown,
              attemptNumber + 1,
              this.#context,
            ),
        }),
      )
    } catch (thrown) {
      const error = thrown instanceof FailedAttempt ? thrown.thrown : thrown
      // A rejected answer is better than none.
      if (this.#refused !== undefined && !this.#context.cancel.aborted) {
        this.#context.meta.set(KEEP, 0)
        return this.#hand(this.#refused.answer as Answer)
      }
      this.#giveUp(error)
      throw error
    }
  }

  async #attempt(attempt: number): Promise<Answer> {
    this.#made = attempt
    this.#policy.stats.retries++
    try {
      this.#context.meta.set(this.#policy.name, { attempts: attempt })
      const answer = await this.#next(this.#request, this.#context)
      const refused = this.#judge(answer)
      if (refused !== undefined) throw refused
      return answer
    } catch (error) {
      if (!addCause(error, this.#failure)) this.#failure = error
      throw new FailedAttempt(error)
    }
  }

  #giveUp(error: unknown): void {
    this.ended()
    const { retries, stats } = this.#policy
    const { cancel } = this.#context
    if (this.#made > retries && retries > 0 && !cancel.aborted && isRetryable(error))
      stats.exhausted++
  }
}

/**
 * Adds the earlier failure as `cause` to an error that rejected the retry, for example at an open
 * circuit. Returns whether the error was such a rejection.
 */
function addCause(error: unknown, before: unknown): boolean {
  if (!isStackError(error) || !error.refused || error.code === 'CLOSED') return false
  if (error.cause === undefined)
    Object.defineProperty(error, 'cause', { value: before, configurable: true, writable: true })
  return true
}
