import isNetworkError from 'is-network-error'
import pRetry from 'p-retry'
import {
  atOnce,
  type Context,
  check,
  defineLayer,
  ELSEWHERE,
  hookFailed,
  isStackError,
  type Layer,
  onEnd,
  remaining,
  rules,
  runHook,
  sleep,
} from '../../core/index.js'
import { fullJitter } from './backoff.js'
import { RetryBudget, type RetryBudgetOptions } from './budget.js'

/** Options of `retry()`. */
export interface RetryOptions<Name extends string = 'retry'> {
  /** Repeats after the first attempt. 0 to 100. @default 2 */
  retries?: number | undefined
  /**
   * The first backoff is drawn from 0 to this; it doubles with each attempt. Milliseconds.
   * @default 500
   */
  minDelayMs?: number | undefined
  /** The backoff's cap. Milliseconds. @default 8000 */
  maxDelayMs?: number | undefined
  /**
   * A `Retry-After` longer than this is not waited for: the call fails at once. Milliseconds.
   * @default 60000
   */
  maxRetryAfterMs?: number | undefined
  /**
   * Limits the retries of all calls together; `false` for no limit.
   * @default { ratio: 0.2, floor: 10, windowMs: 10_000 }
   */
  budget?: RetryBudgetOptions | false | undefined
  /**
   * Decides instead of the default rule whether a failure is worth another attempt. `attempt`
   * counts from 1. The caller's abort never is.
   */
  when?: ((error: unknown, attempt: number) => boolean) | undefined
  /** Told before each wait. What it throws is a warning and changes nothing. */
  onRetry?: ((retry: { error: unknown; attempt: number; delayMs: number }) => void) | undefined
  /** Source of the jitter, from 0 to below 1. @default Math.random */
  random?: (() => number) | undefined
  /** Key in `stats()`. @default 'retry' */
  name?: Name | undefined
}

/** What `retry()` has counted. */
export interface RetryStats {
  /** Attempts beyond the first. */
  readonly retries: number
  /** Calls whose last allowed attempt failed in a way that deserved another. */
  readonly exhausted: number
  /** Retries not made for want of budget or time, or because upstream asked for too long a wait. */
  readonly refused: number
}

/**
 * What an attempt threw, carried through p-retry, which would replace what is no Error and judge
 * TypeErrors by itself. It is an Error by its prototype only: nobody looks at its stack, which
 * would cost more than all the rest.
 */
class Thrown {
  readonly value: unknown
  constructor(value: unknown) {
    this.value = value
  }
}
Object.setPrototypeOf(Thrown.prototype, Error.prototype)

/**
 * Repeats a call that failed before its answer began, after a backoff with full jitter or the wait
 * that upstream asked for.
 *
 * Repeated: 408, 409, 429, 5xx, network failures, time-outs, and foreign errors other than
 * programming mistakes (`TypeError`). Not repeated: other 4xx, what was refused before it ran, the
 * caller's abort. A wait never outlasts the deadline, and ends with the caller's signal.
 *
 * @throws what the last attempt threw, unchanged
 * @example retry({ retries: 3, onRetry: ({ attempt, delayMs }) => log.info({ attempt, delayMs }) })
 * @see https://github.com/openai/openai-node which statuses are repeated, and the limit on
 * `Retry-After`
 */
export function retry<const Name extends string = 'retry'>(
  options: RetryOptions<Name> = {},
): Layer<Name, RetryStats> {
  const checked = check('retry', options, {
    retries: rules.integer(2, { min: 0, max: 100 }),
    minDelayMs: rules.duration(500, { min: 0 }),
    maxDelayMs: rules.duration(8_000, { min: 0 }),
    maxRetryAfterMs: rules.duration(60_000, { min: 0 }),
    budget: rules.custom<RetryBudgetOptions | false, undefined>(
      'false or an object',
      undefined,
      (value) => value === false || isObject(value),
    ),
    when: rules.callback<NonNullable<RetryOptions['when']>>(),
    onRetry: rules.callback<NonNullable<RetryOptions['onRetry']>>(),
    random: rules.callback<() => number>(),
    name: rules.layerName<Name>('retry'),
  })
  const { retries, minDelayMs, maxDelayMs, maxRetryAfterMs, when, onRetry, name } = checked
  const random = jitterFrom(checked.random)
  const budget = checked.budget === false ? undefined : new RetryBudget(checkBudget(checked.budget))
  let repeated = 0
  let exhausted = 0
  let refused = 0

  const isWorthIt = (error: unknown, attempt: number): boolean => {
    if (when !== undefined) {
      try {
        return atOnce(when(error, attempt))
      } catch (thrown) {
        hookFailed('retry: when()', thrown)
      }
    }
    return isRetryable(error)
  }

  /**
   * Waits for the moment of the next attempt; false when there is to be none. Rejects with the
   * reason when the caller aborts.
   */
  const waitForNext = async (
    error: unknown,
    attempt: number,
    context: Context,
  ): Promise<boolean> => {
    if (context.cancel.aborted || context.closing.aborted || !isWorthIt(error, attempt))
      return false
    const asked = context.meta.get(ELSEWHERE) === true ? undefined : retryAfterOf(error)
    // Spread out on top of what was asked for, or all who were told the same come back at the same
    // moment.
    const delayMs =
      asked === undefined
        ? fullJitter(attempt, { minDelayMs, maxDelayMs, random })
        : asked + random() * minDelayMs
    const tooLong = asked !== undefined && asked > maxRetryAfterMs
    if (
      tooLong ||
      delayMs >= remaining(context) ||
      (asked === undefined && budget?.take() === false)
    ) {
      refused++
      return false
    }
    context.trace?.retry(name, attempt, delayMs, error)
    if (onRetry) runHook('retry: onRetry()', () => onRetry({ error, attempt, delayMs }))
    try {
      await sleep(delayMs, context.cancel, context.closing)
    } catch (reason) {
      // A closing stack ends the wait with what went wrong, not with the closing.
      if (context.cancel.aborted) throw reason
      return false
    }
    // Both may have come to pass in the moment when the wait was over.
    context.cancel.throwIfAborted()
    return !context.closing.aborted
  }

  return defineLayer({
    name,
    kind: 'retry',
    outside: {
      queue: 'a call in backoff holds its slot; put retry outside.',
      pool: 'a call in backoff holds its connection; put retry outside.',
    },
    wrap: (next) => async (request, context) => {
      const ended = budget?.begin()
      let attempts = 1
      let failure: unknown
      // p-retry is entered at the first wait only: its price is paid by calls that are repeated.
      const repeat = (first: unknown) => {
        failure = first
        return pRetry(
          async (repeats) => {
            attempts = repeats + 1
            repeated++
            context.meta.set(name, { attempts })
            try {
              return await next(request, context)
            } catch (error) {
              if (!tellCause(error, failure)) failure = error
              throw new Thrown(error)
            }
          },
          {
            retries: retries - 1,
            minTimeout: 0,
            shouldRetry: ({ error, attemptNumber }) =>
              waitForNext((error as unknown as Thrown).value, attemptNumber + 1, context),
          },
        )
      }
      try {
        let answer: Awaited<ReturnType<typeof next>>
        try {
          answer = await next(request, context)
        } catch (first) {
          if (retries === 0 || !(await waitForNext(first, 1, context))) throw first
          answer = await repeat(first)
        }
        return ended === undefined ? answer : onEnd(answer, ended)
      } catch (thrown) {
        ended?.()
        const error = thrown instanceof Thrown ? thrown.value : thrown
        if (attempts > retries && retries > 0 && !context.cancel.aborted && isRetryable(error))
          exhausted++
        throw error
      }
    },
    stats: () => ({ retries: repeated, exhausted, refused }),
  })
}

/**
 * The source of the jitter; what is none costs a warning, and the call draws from `Math.random`.
 */
function jitterFrom(random: (() => number) | undefined): () => number {
  if (random === undefined) return Math.random
  return () => {
    try {
      const drawn = atOnce(random())
      if (drawn >= 0 && drawn <= 1) return drawn
      throw new RangeError('random() must give a number from 0 to below 1.')
    } catch (error) {
      hookFailed('retry: random()', error)
      return Math.random()
    }
  }
}

/**
 * A repeat that was refused, as by an open breaker, tells what went wrong before in its `cause`.
 * Gives whether it was one.
 */
function tellCause(error: unknown, before: unknown): boolean {
  if (!isStackError(error) || !error.refused || error.code === 'CLOSED') return false
  if (error.cause === undefined)
    Object.defineProperty(error, 'cause', { value: before, configurable: true, writable: true })
  return true
}

/** The wait that upstream asked for, if it is one. */
function retryAfterOf(error: unknown): number | undefined {
  return isStackError(error) && error.retryAfter !== undefined && error.retryAfter > 0
    ? error.retryAfter
    : undefined
}

/**
 * Our errors say it themselves. Of foreign ones only programming mistakes are not repeated, and
 * what looks like an abort.
 */
function isRetryable(error: unknown): boolean {
  if (isStackError(error)) return error.retryable && !error.refused
  if (error instanceof TypeError) return isNetworkError(error)
  return !(error instanceof Error && error.name === 'AbortError')
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

const checkBudget = (options: RetryBudgetOptions | undefined) =>
  check('retry', options, {
    ratio: rules.number(0.2, { min: 0, max: 1 }),
    floor: rules.integer(10, { min: 0 }),
    windowMs: rules.duration(10_000, { min: 10 }),
  })
