import { check, defineLayer, type Layer, rules } from '../../core/index.js'
import { Attempts } from './attempts.js'
import { jitterFrom } from './backoff.js'
import { RetryBudget, type RetryBudgetOptions } from './budget.js'
import { RetryPolicy } from './policy.js'

/** Declared as a method, so that a function for a more specific answer type is accepted. */
interface Accept {
  accept(answer: unknown): boolean
}

/** Options of `retry()`. */
export interface RetryOptions<Name extends string = 'retry'> {
  /** Maximum number of retries after the first attempt: an integer of at least 0. @default 2 */
  retries?: number | undefined
  /**
   * Upper bound of the first random delay. It doubles with each attempt. Milliseconds. @default 500
   */
  minDelayMs?: number | undefined
  /** Maximum of that bound. Milliseconds. @default 8000 */
  maxDelayMs?: number | undefined
  /**
   * Longest `Retry-After` to wait for. With a longer one the call fails at once. Milliseconds.
   * @default 60000
   */
  maxRetryAfterMs?: number | undefined
  /**
   * Limits the retries of all calls together; `false` for no limit.
   * @default { ratio: 0.2, floor: 10, windowMs: 10_000 }
   */
  budget?: RetryBudgetOptions | false | undefined
  /**
   * Returns whether to retry after a failure, replacing the default rule. `attempt` starts at 1.
   * Not called after an abort by the caller.
   */
  when?: ((error: unknown, attempt: number) => boolean) | undefined
  /**
   * Returns whether a complete answer is good enough; for the client it gets the JSON body. Not
   * called for streams, which have already started. A rejected answer is retried like a failure.
   * The last one is returned as it is, and caches do not store it. Must not change the answer.
   * @default every answer
   */
  accept?: Accept['accept'] | undefined
  /** Called before each wait. An error it throws becomes a warning and changes nothing. */
  onRetry?: ((retry: { error: unknown; attempt: number; delayMs: number }) => void) | undefined
  /** Random numbers for the jitter, from 0 to below 1. @default Math.random */
  random?: (() => number) | undefined
  /** The layer's name and its key in `stats()`. @default 'retry' */
  name?: Name | undefined
}

/** Counters of `retry()`. */
export interface RetryStats {
  /** Attempts after the first. */
  readonly retries: number
  /** Calls whose last allowed attempt failed with a retryable error. */
  readonly exhausted: number
  /** Retries not made: no budget or time was left, or upstream asked for too long a wait. */
  readonly refused: number
}

/**
 * Retries a call that failed before its answer started, after a random delay (exponential backoff
 * with full jitter) or the wait that upstream asked for.
 *
 * Retried are 408, 409, 429, 5xx, network errors, timeouts, and errors from outside this library
 * except programming mistakes (`TypeError`). Not retried are other 4xx, calls rejected before they
 * ran, and aborts by the caller. A wait never lasts past the deadline, and ends when the caller
 * aborts.
 *
 * @throws the error of the last attempt, unchanged
 * @example retry({ retries: 3, onRetry: ({ attempt, delayMs }) => log.info({ attempt, delayMs }) })
 * @see https://github.com/openai/openai-node for the statuses that are retried and the limit on
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
      hedge: 'each of the two tries is retried separately. Move retry outside.',
      queue: 'a call holds its slot while it waits to retry. Move retry outside.',
      pool: 'a call holds its connection while it waits to retry. Move retry outside.',
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
