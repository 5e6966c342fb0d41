import { check, defineLayer, type Layer, rules } from '../../core/index.js'
import { Attempts } from './attempts.js'
import { jitterFrom } from './backoff.js'
import { RetryBudget, type RetryBudgetOptions } from './budget.js'
import { RetryPolicy } from './policy.js'

/** As a method, so that it may be written for the answers it will get. */
interface Accept {
  accept(answer: unknown): boolean
}

/** Options of `retry()`. */
export interface RetryOptions<Name extends string = 'retry'> {
  /** Repeats after the first attempt: an integer of at least 0. @default 2 */
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
  /**
   * Judges each whole answer, of the client the JSON body; streams are not asked for, as they have
   * begun. One that is refused is repeated like a failure; the last one is handed on as it is, and
   * no cache keeps it. It must not change the answer.
   * @default every answer is accepted
   */
  accept?: Accept['accept'] | undefined
  /** Called before each wait. What it throws is a warning and changes nothing. */
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
    retries: rules.integer(2, { min: 0 }),
    minDelayMs: rules.duration(500, { min: 0 }),
    maxDelayMs: rules.duration(8_000, { min: 0 }),
    maxRetryAfterMs: rules.duration(60_000, { min: 0 }),
    budget: rules.custom<RetryBudgetOptions | false, undefined>(
      'false or an object',
      undefined,
      (value) => value === false || isObject(value),
    ),
    when: rules.callback<NonNullable<RetryOptions['when']>>(),
    accept: rules.callback<Accept['accept']>(),
    onRetry: rules.callback<NonNullable<RetryOptions['onRetry']>>(),
    random: rules.callback<() => number>(),
    name: rules.layerName<Name>('retry'),
  })
  const budget = checked.budget === false ? undefined : new RetryBudget(checkBudget(checked.budget))
  const policy = new RetryPolicy({ ...checked, random: jitterFrom(checked.random) }, budget)
  return defineLayer({
    name: checked.name,
    kind: 'retry',
    outside: {
      hedge: 'each of the two tries is repeated by itself; put retry outside.',
      queue: 'a call in backoff holds its slot; put retry outside.',
      pool: 'a call in backoff holds its connection; put retry outside.',
    },
    wrap: (next) => (request, context) => new Attempts(policy, next, request, context).run(),
    stats: () => ({ ...policy.stats }),
  })
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

const checkBudget = (options: RetryBudgetOptions | undefined) =>
  check('retry', options, {
    ratio: rules.number(0.2, { min: 0, max: 1 }),
    floor: rules.integer(10, { min: 0 }),
    windowMs: rules.duration(10_000, { min: 10 }),
  })
