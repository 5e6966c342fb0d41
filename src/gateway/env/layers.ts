import type * as v from 'valibot'
import { ConfigError, type SharedState } from '../../core/index.js'
import type { RateLimitSettings } from '../../layers/rate-limit/index.js'
import { costOf } from './budget.js'
import type { ClientVariables } from './variables.js'

type Variables = v.InferOutput<typeof ClientVariables>

/** Whether the settings share anything between servers. */
export function sharesSomething(read: Variables): boolean {
  if (read.BLOSSOM_SHARED_CONCURRENCY && read.BLOSSOM_QUEUE_CONCURRENCY === 'adaptive')
    throw new ConfigError(
      'The environment variable BLOSSOM_QUEUE_CONCURRENCY must be an integer while BLOSSOM_SHARED_CONCURRENCY is on.',
    )
  const { rateLimit, providerLimit } = limitsFrom(read, undefined)
  const hasLimits = rateLimit !== false || providerLimit !== false
  return (
    (read.BLOSSOM_CACHE && read.BLOSSOM_SHARED_CACHE) ||
    read.BLOSSOM_SHARED_DEDUPE ||
    (hasLimits && read.BLOSSOM_SHARED_LIMITS) ||
    read.BLOSSOM_SHARED_BREAKER ||
    read.BLOSSOM_SHARED_CONCURRENCY
  )
}

/** The limits of each tenant, and those of all calls together. */
export function limitsFrom(read: Variables, shared: SharedState | undefined) {
  const { BLOSSOM_PRICES: prices, BLOSSOM_TENANT_LIMIT_MODE: mode } = read
  if (prices === undefined && (read.BLOSSOM_BUDGET ?? read.BLOSSOM_TENANT_BUDGET) !== undefined)
    throw new ConfigError(
      'The environment variable BLOSSOM_PRICES must be set if BLOSSOM_BUDGET or BLOSSOM_TENANT_BUDGET is set.',
    )
  const rateLimit = {
    requests: read.BLOSSOM_TENANT_LIMIT_PER_MINUTE || undefined,
    tokens: read.BLOSSOM_TENANT_TOKEN_LIMIT_PER_MINUTE || undefined,
    cost: costOf(read.BLOSSOM_TENANT_BUDGET, prices),
  }
  const providerLimit = {
    requests: read.BLOSSOM_RATE_LIMIT_PER_MINUTE || undefined,
    tokens: read.BLOSSOM_TOKEN_LIMIT_PER_MINUTE || undefined,
    cost: costOf(read.BLOSSOM_BUDGET, prices),
  }
  return {
    rateLimit: isSome(rateLimit) && { ...rateLimit, mode, shared },
    providerLimit: isSome(providerLimit) && { ...providerLimit, shared },
  }
}

const isSome = (limits: RateLimitSettings): boolean =>
  Object.values(limits).some((limit) => limit !== undefined)

/** The layers that ask other models: fallback and hedge. */
export function othersFrom(read: Variables) {
  const { BLOSSOM_FALLBACK_MODELS: fallbacks, BLOSSOM_HEDGE_MODELS: hedges } = read
  return {
    fallback: fallbacks !== undefined && { to: fallbacks },
    hedge: hedges !== undefined && { to: hedges, delayMs: read.BLOSSOM_HEDGE_DELAY_MS },
  }
}

/** The layers that protect upstream: breaker, queue and pool. */
export function protectionFrom(read: Variables, shared: SharedState | undefined) {
  const gate = read.BLOSSOM_POOL_GATE
  return {
    breaker: {
      slowMs: read.BLOSSOM_BREAKER_SLOW_MS || undefined,
      trials: read.BLOSSOM_BREAKER_TRIALS,
      shared: read.BLOSSOM_SHARED_BREAKER ? shared : undefined,
    },
    queue: {
      concurrency: read.BLOSSOM_QUEUE_CONCURRENCY,
      maxWaiting: read.BLOSSOM_QUEUE_MAX_WAITING,
      weights: Object.fromEntries(read.BLOSSOM_QUEUE_WEIGHTS ?? []),
      gate,
      shared: read.BLOSSOM_SHARED_CONCURRENCY ? shared : undefined,
    },
    pool: { connections: read.BLOSSOM_POOL_CONNECTIONS, gate },
  }
}
