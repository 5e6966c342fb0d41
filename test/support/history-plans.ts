/** Options of the layers, small enough that a history of half a second meets every limit. */
export interface LayerPlans {
  readonly cache: { ttlMs: number; staleMs: number; maxEntries: number }
  readonly dedupe: Record<never, never>
  readonly timeout: { ms: number; streamMs: number; firstTokenMs: number; idleMs: number }
  readonly retry: {
    retries: number
    minDelayMs: number
    maxDelayMs: number
    maxRetryAfterMs: number
    budget: { ratio: number; floor: number; windowMs: number }
  }
  readonly breaker: {
    failureRate: number
    minimumCalls: number
    windowMs: number
    resetMs: number
    trials: number
    slowMs?: number
    key?: 'model'
  }
  readonly queue: {
    concurrency: number | { min: number; start: number; max: number }
    maxWaiting: number
    maxWaitMs?: number
    fairness?: boolean
  }
  readonly pool: { connections: number; maxWaiting: number; members?: { weight: number }[] }
  readonly batcher: { maxItems: number; maxDelayMs: number }
  readonly rateLimit: {
    requests?: RatePlan
    tokens?: RatePlan
    by: 'tenant' | 'model' | 'all'
    mode: 'wait' | 'reject'
    maxWaiting: number
    maxWaitMs: number
  }
  /** Models, `elsewhere`, a `value`, or `nothing` from a function that fails. */
  readonly fallback: { to: readonly string[] }
  readonly hedge: {
    delayMs: number
    /** Models, or `elsewhere`. */
    to: readonly string[]
    budget: false | { size: number; start: number; perSuccess: number }
  }
}

export interface RatePlan {
  readonly limit: number
  readonly intervalMs: number
  readonly burst?: number
}

export type Kind = keyof LayerPlans

export type LayerPlan = {
  readonly [K in Kind]: { readonly kind: K; readonly options: LayerPlans[K] }
}[Kind]

/** The calls that a layer lets through at once; Infinity when it bounds nothing. */
export function widthOf({ kind, options }: LayerPlan): number {
  if (kind === 'pool') return options.connections * (options.members?.length ?? 1)
  if (kind !== 'queue') return Number.POSITIVE_INFINITY
  const { concurrency } = options
  return typeof concurrency === 'number' ? concurrency : concurrency.max
}

/**
 * The calls that may be upstream at once. Each hedge makes two of a call, and a renewal behind a
 * stale hit has no caller who would hold a place further out.
 */
export function mostInFlight(layers: readonly LayerPlan[]): number {
  const limits = layers.map((plan, i) => {
    const further = layers.slice(i + 1)
    if (further.some(({ kind, options }) => kind === 'cache' && options.staleMs > 0))
      return Number.POSITIVE_INFINITY
    return widthOf(plan) * 2 ** further.filter(({ kind }) => kind === 'hedge').length
  })
  return Math.min(...limits)
}

/** What a limit lets through at once when nothing has begun for a while. */
export const burstOf = ({ limit, burst }: RatePlan): number => burst ?? Math.max(1, limit / 6)

/** Who else a layer may ask: other models, or somebody elsewhere. */
export const targetsOf = ({ kind, options }: LayerPlan): readonly string[] =>
  kind === 'fallback' || kind === 'hedge' ? options.to : []
