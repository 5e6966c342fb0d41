import {
  type Context,
  isStackError,
  type LayerOf,
  onEnd,
  type StreamEnd,
} from '../../src/core/index.js'
import { batcher } from '../../src/layers/batcher/index.js'
import { type BreakerState, breaker } from '../../src/layers/breaker/index.js'
import { type CacheLayer, cache } from '../../src/layers/cache/index.js'
import { dedupe } from '../../src/layers/dedupe/index.js'
import { pool } from '../../src/layers/pool/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { retry } from '../../src/layers/retry/index.js'
import { timeout } from '../../src/layers/timeout.js'
import { type Moment, now } from './history-clock.js'
import type { Ask } from './history-upstream.js'

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
  readonly breaker: { failureRate: number; minimumCalls: number; windowMs: number; resetMs: number }
  readonly queue: {
    concurrency: number
    maxWaiting: number
    maxWaitMs?: number
    fairness?: boolean
  }
  readonly pool: { connections: number; maxWaiting: number }
  readonly batcher: { maxItems: number; maxDelayMs: number }
}
export type Kind = keyof LayerPlans

export type LayerPlan = {
  readonly [K in Kind]: { readonly kind: K; readonly options: LayerPlans[K] }
}[Kind]

/** A call as it came past one place of the stack. */
export interface Passed {
  readonly ask: Ask
  readonly context: Context
  readonly began: Moment
  /** When the handler inside settled, and with what. */
  settled: Moment | undefined
  /** The end of the answer: for a stream later than `settled`. */
  ended: Moment | undefined
  outcome: StreamEnd['outcome'] | undefined
  error: unknown
  /** The same call at the place further out, where a layer hands its context on. */
  from: Passed | undefined
}

/** A layer under test between two places where all that passes is written down. */
export interface Watched {
  readonly plan: LayerPlan
  readonly name: string
  readonly layer: LayerOf<Ask, unknown>
  readonly outside: Passed[]
  readonly inside: Passed[]
  /** Of a breaker. */
  readonly states: { readonly state: BreakerState; readonly moment: Moment }[]
  /** Of a retry: decisions to try again. */
  readonly retries: { readonly moment: Moment; readonly delayMs: number; readonly asked: boolean }[]
  clear?: () => Promise<void>
}

/** How a layer is made of its plan; a test of the checks themselves makes some of them wrong. */
export type Make = (
  plan: LayerPlan,
  name: string,
  told: Pick<Watched, 'states' | 'retries'>,
  random: () => number,
) => { layer: LayerOf<Ask, unknown>; clear?: () => Promise<void> }

export const makeLayer: Make = ({ kind, options }, name, { states, retries }, random) => {
  if (kind === 'cache') {
    const layer: CacheLayer<string> = cache({ name, ...options })
    return { layer, clear: layer.clear }
  }
  if (kind === 'dedupe') return { layer: dedupe({ name }) }
  if (kind === 'timeout') return { layer: timeout({ name, ...options }) }
  if (kind === 'breaker') {
    return {
      layer: breaker({
        name,
        ...options,
        onStateChange: (state) => states.push({ state, moment: now() }),
      }),
    }
  }
  if (kind === 'queue') return { layer: queue({ name, ...options }) }
  if (kind === 'pool') return { layer: pool({ name, ...options }) }
  if (kind === 'batcher') return { layer: batcher({ name, ...options }) }
  const onRetry = ({ error, delayMs }: { error: unknown; delayMs: number }) =>
    retries.push({ moment: now(), delayMs, asked: retryAfterOf(error) > 0 })
  return { layer: retry({ name, ...options, random, onRetry }) }
}

export const retryAfterOf = (error: unknown): number =>
  (isStackError(error) && error.retryAfter) || 0

/** Layers of the plans, outermost first, with a place to watch between any two. */
export function watchedStack(
  plans: readonly LayerPlan[],
  random: () => number,
  onChange: () => void,
  make: Make = makeLayer,
) {
  const places: Passed[][] = [[]]
  const names = new Map<Kind, number>()
  const watched = plans.map((plan, i): Watched => {
    const nth = (names.get(plan.kind) ?? 0) + 1
    names.set(plan.kind, nth)
    const name = nth === 1 ? plan.kind : `${plan.kind}${nth}`
    const told = { states: [], retries: [] }
    const outside = places[i] as Passed[]
    const inside: Passed[] = []
    places.push(inside)
    return { plan, name, outside, inside, ...told, ...make(plan, name, told, random) }
  })
  /** Who passed the next place further out last with this context. */
  const latest = places.map(() => new WeakMap<Context, Passed>())
  const place = (index: number): LayerOf<Ask, unknown> => {
    const passed = places[index] as Passed[]
    return (next) => async (ask, context) => {
      const from = latest[index - 1]?.get(context)
      const one: Passed = {
        ask,
        context,
        began: now(),
        settled: undefined,
        ended: undefined,
        outcome: undefined,
        error: undefined,
        from,
      }
      passed.push(one)
      latest[index]?.set(context, one)
      const end = ({ outcome, error }: StreamEnd) => {
        one.ended = now()
        one.outcome = outcome
        one.error = error
        onChange()
      }
      try {
        const answer = await next(ask, context)
        one.settled = now()
        return onEnd(answer, end)
      } catch (error) {
        one.settled = now()
        end({ outcome: 'failed', error })
        throw error
      }
    }
  }
  const layers = watched.flatMap(({ layer }, i) => [place(i), layer])
  return {
    watched,
    layers: [...layers, place(plans.length)],
    innermost: places[plans.length] as Passed[],
  }
}
