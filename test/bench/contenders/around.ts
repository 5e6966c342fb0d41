import { createHash } from 'node:crypto'
import { Policy } from '@git-stunts/alfred'
import {
  bulkhead,
  circuitBreaker,
  ExponentialBackoff,
  handleAll,
  retry,
  SamplingBreaker,
  TimeoutStrategy,
  timeout,
  wrap,
} from 'cockatiel'
import Keyv from 'keyv'
import { CircuitBreaker as KitBreaker, llmRetry } from 'llm-retry-kit'
import CircuitBreaker from 'opossum'
import PQueue from 'p-queue'
import pRetry from 'p-retry'
import { DEADLINE_MS } from './contender.js'
import { BY_HAND } from './names.js'

type Ask<Answer> = (request: unknown, signal?: AbortSignal) => Promise<Answer>

interface AroundOptions {
  /** The answers are streams: not cached, and still running when the function returns. */
  streams?: boolean
  maxWaiting?: number
  deadlineMs?: number
}

/** Puts a library's policies around a function. */
export interface Around {
  ask<Answer>(fn: Ask<Answer>, width: number, options?: AroundOptions): Ask<Answer>
}

const RETRIES = 2

/**
 * The packages chained as a careful user does it: a key, a queue, a retry and a breaker, with a
 * signal that also knows the deadline.
 */
export const byHand: Around = {
  ask(fn, width, { streams = false, deadlineMs = DEADLINE_MS } = {}) {
    const cache = new Keyv()
    const queue = new PQueue({ concurrency: width })
    const breaker = new CircuitBreaker(fn, {
      timeout: false,
      errorThresholdPercentage: 50,
      volumeThreshold: 10,
      resetTimeout: 30_000,
    })
    return async (request, signal) => {
      const key = streams ? '' : createHash('sha256').update(JSON.stringify(request)).digest('hex')
      const hit = streams ? undefined : await cache.get(key)
      if (hit !== undefined) return hit
      const deadline = AbortSignal.timeout(deadlineMs)
      const limits = AbortSignal.any(signal ? [signal, deadline] : [deadline])
      const attempts = () =>
        pRetry(() => breaker.fire(request, limits), { retries: RETRIES, signal: limits })
      const answer = await queue.add(attempts, { signal: limits })
      if (!streams) await cache.set(key, answer, 30 * 60_000)
      return answer
    }
  },
}

/**
 * Four policies; their signal carries the caller's and the deadline. They abort it when the
 * function returns, so a stream cannot have it.
 */
export const cockatiel: Around = {
  ask(fn, width, { streams = false, maxWaiting = 1_000, deadlineMs = DEADLINE_MS } = {}) {
    const policy = wrap(
      timeout(deadlineMs, TimeoutStrategy.Aggressive),
      retry(handleAll, { maxAttempts: RETRIES, backoff: new ExponentialBackoff() }),
      circuitBreaker(handleAll, {
        halfOpenAfter: 30_000,
        breaker: new SamplingBreaker({ threshold: 0.5, duration: 10_000, minimumRps: 1 }),
      }),
      bulkhead(width, maxWaiting),
    )
    return (request, signal) =>
      policy.execute(({ signal: limits }) => fn(request, streams ? signal : limits), signal)
  },
}

/**
 * Four policies. They hand no signal to the function when they are composed, so it gets the
 * caller's.
 */
const alfred: Around = {
  ask(fn, width, { maxWaiting = 1_000, deadlineMs = DEADLINE_MS } = {}) {
    const policy = Policy.timeout(deadlineMs)
      .wrap(Policy.retry({ retries: RETRIES, backoff: 'exponential', jitter: 'full' }))
      .wrap(Policy.circuitBreaker({ threshold: 10, duration: 30_000 }))
      .wrap(Policy.bulkhead({ limit: width, queueLimit: maxWaiting }))
    return (request, signal) => policy.execute(() => fn(request, signal))
  },
}

/** Retry, breaker and time limit; it has no queue. */
const llmRetryKit: Around = {
  ask(fn, _width, { deadlineMs = DEADLINE_MS } = {}) {
    const circuitBreaker = new KitBreaker({
      failureThreshold: 10,
      windowMs: 10_000,
      cooldownMs: 30_000,
    })
    return async (request, signal) => {
      const call = async ({ signal: limits }: { signal?: AbortSignal }) => ({
        data: await fn(request, limits),
      })
      const { data } = await llmRetry({
        providers: [{ name: 'upstream', fn: call, maxRetries: RETRIES, circuitBreaker }],
        timeoutMs: deadlineMs,
        ...(signal && { signal }),
      })
      return data
    }
  },
}

/** Policy libraries, wherever policies alone are compared. */
export const arounds: Readonly<Record<string, Around>> = {
  [BY_HAND]: byHand,
  cockatiel,
  '@git-stunts/alfred': alfred,
  'llm-retry-kit': llmRetryKit,
}
