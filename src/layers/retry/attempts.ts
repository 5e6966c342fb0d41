// p-retry makes the attempts from the second on, and ends with the last one allowed or when
// `shouldRetry` returns false. Which failures are repeated, how long to wait, and the wait itself are
// ours (`policy.ts`), as p-retry has one formula for all failures and knows no deadline. It is
// entered at the first failure only, or each call that succeeds would pay 6 µs for it.

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
 * What an attempt threw, on its way through p-retry: that would replace what is no Error, give up
 * at any TypeError, and take an AbortError of its own apart.
 */
class FailedAttempt extends Error {
  readonly thrown: unknown

  constructor(thrown: unknown) {
    super('An attempt failed.')
    this.thrown = thrown
  }
}

/** One call: its first attempt, those behind it, and its place in the budget. */
export class Attempts<Request, Answer> {
  readonly #policy: RetryPolicy
  readonly #next: Handler<Request, Answer>
  readonly #request: Request
  readonly #context: Context
  readonly #began: BudgetSlice | undefined
  #made = 1
  /** The last failure that was not a refusal. */
  #failure: unknown
  /** The last answer that `accept` refused. */
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

  /** The answer has begun: it counts as running until it has ended. */
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
      // An answer that is not good enough is better than none.
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
 * A repeat that was refused, as by an open breaker, has what went wrong before as its `cause`.
 * Returns whether it was one.
 */
function addCause(error: unknown, before: unknown): boolean {
  if (!isStackError(error) || !error.refused || error.code === 'CLOSED') return false
  if (error.cause === undefined)
    Object.defineProperty(error, 'cause', { value: before, configurable: true, writable: true })
  return true
}
