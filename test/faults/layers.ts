import {
  type BreakerOptions,
  breaker,
  cache,
  dedupe,
  defineLayer,
  type FallbackOptions,
  fallback,
  type HedgeOptions,
  hedge,
  onEnd,
  type PoolOptions,
  pool,
  type QueueOptions,
  queue,
  type RateLimitOptions,
  rateLimit,
  retry,
  timeout,
} from '../../src/index.js'
import { tokenOf } from '../support/good-answers.js'

/** Options of the layers that a row is about, laid over those that all rows have. */
export interface RowLayers {
  readonly rateLimit?: Omit<RateLimitOptions, 'name'>
  readonly fallback?: Omit<FallbackOptions, 'name'>
  readonly hedge?: Omit<HedgeOptions, 'name'>
  readonly breaker?: Omit<BreakerOptions, 'name'>
  readonly queue?: Omit<QueueOptions, 'name'>
  readonly providerLimit?: Omit<RateLimitOptions, 'name'>
  readonly pool?: Omit<PoolOptions, 'name'>
}

/** One attempt, as the innermost layer saw it. */
export interface Attempt {
  readonly token: string
  readonly at: number
  ends: number
}

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
/** Limits of the call and of an attempt. With a real clock none is ever reached. */
const REAL = { call: { ms: 2 * MINUTE }, attempt: { ms: MINUTE } }
const FAKE = {
  call: { ms: 100_000, streamMs: 400_000 },
  attempt: { ms: 10_000, streamMs: MINUTE, firstTokenMs: 10_000, idleMs: 5_000 },
}

/** Limits that no call of a row meets, unless it is about them: they only count. */
const AMPLE: RateLimitOptions = {
  requests: 1e6,
  tokens: 1e9,
  cost: { limit: 1e9, per: 'day', price: (_, { input, output }) => input + output },
  by: 'all',
}
/** Nobody else is asked, unless a row is about that. */
const NOBODY: FallbackOptions = { to: ['mistral'], when: () => false }
const NEVER: HedgeOptions = { delayMs: DAY }

/** Writes down every attempt. */
export const watch = (attempts: Attempt[]) =>
  defineLayer({
    name: 'watch',
    wrap: (next) => async (request, context) => {
      const { path, payload = '' } = request as { path: string; payload?: string }
      const attempt: Attempt = {
        token: tokenOf({ path, body: payload }),
        at: performance.now(),
        ends: 0,
      }
      attempts.push(attempt)
      try {
        return onEnd(await next(request, context), () => attempt.ends++)
      } catch (error) {
        attempt.ends++
        throw error
      }
    },
  })

/**
 * All layers in the recommended order, with one slot and quick retries, and a last one that writes
 * down every attempt.
 */
export function layersOf(
  { clock, attempts }: { clock: boolean; attempts: Attempt[] },
  row: RowLayers,
) {
  const limits = clock ? FAKE : REAL
  return [
    cache(),
    dedupe(),
    rateLimit({ ...AMPLE, ...row.rateLimit }),
    timeout(limits.call),
    fallback({ ...NOBODY, ...row.fallback }),
    retry({ minDelayMs: 1, maxDelayMs: 2 }),
    hedge({ ...NEVER, ...row.hedge }),
    breaker(row.breaker),
    queue({ concurrency: 1, ...row.queue }),
    rateLimit({ ...AMPLE, ...row.providerLimit, name: 'providerLimit' }),
    timeout({ name: 'attempt', ...limits.attempt }),
    pool({ connections: 1, ...row.pool }),
    watch(attempts),
  ] as const
}
