import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Context,
  isStackError,
  type LayerOf,
  onEnd,
  type Stack,
  type StreamEnd,
  stack,
} from '../../src/core/index.js'
import { batcher } from '../../src/layers/batcher/index.js'
import { type BreakerState, breaker } from '../../src/layers/breaker/index.js'
import { type CacheLayer, cache } from '../../src/layers/cache/index.js'
import { dedupe } from '../../src/layers/dedupe/index.js'
import { type FallbackCandidate, fallback } from '../../src/layers/fallback/index.js'
import { hedge } from '../../src/layers/hedge/index.js'
import { pool } from '../../src/layers/pool/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { RateLimits } from '../../src/layers/rate-limit/rate-limits.js'
import { retry } from '../../src/layers/retry/index.js'
import { timeout } from '../../src/layers/timeout.js'
import { type Moment, now } from './history-clock.js'
import type { Kind, LayerPlan } from './history-plans.js'
import type { Ask, HistoryUpstream, Site } from './history-upstream.js'
import { RecordingStore, recordedLimit } from './recorded-limit.js'

/** A call as it came past one place of the stack, or left it for somebody else. */
export interface Passed {
  readonly ask: Ask
  readonly context: Context
  readonly site: Site
  readonly began: Moment
  /** When the handler inside settled, and with what. */
  settled: Moment | undefined
  /** The end of the answer: for a stream later than `settled`. */
  ended: Moment | undefined
  outcome: StreamEnd['outcome'] | undefined
  error: unknown
  /** The same call at the place further out, whose layer has made this one of it. */
  readonly from: Passed | undefined
}

/** What is written down of one layer beside what passes. */
interface Log {
  /** Of a breaker, by the key of the circuit. */
  readonly states: {
    readonly state: BreakerState
    readonly key: string | undefined
    readonly moment: Moment
  }[]
  /** Of a retry: decisions to try again. */
  readonly retries: { readonly moment: Moment; readonly delayMs: number; readonly asked: boolean }[]
}

/** Where a layer can send a call instead of inward. */
interface Elsewhere {
  readonly stack: Stack<Ask, unknown, readonly []>
  /** Functions in place of an answer: one that gives a value, and one that has none. */
  give(request: Ask, context: Context): unknown
  fail(request: Ask, context: Context): never
}

/** A layer under test between two places where all that passes is written down. */
export interface Watched extends Log {
  readonly plan: LayerPlan
  readonly name: string
  readonly layer: LayerOf<Ask, unknown>
  readonly outside: Passed[]
  readonly inside: Passed[]
  /** What it has sent elsewhere, values that it has asked for among it. */
  readonly elsewhere: Passed[]
  clear?: () => Promise<void>
  /** Of a rateLimit. */
  readonly store?: RecordingStore
}

/** How a layer is made of its plan; a test of the checks themselves makes some of them wrong. */
export type Make = (
  plan: LayerPlan,
  name: string,
  log: Log,
  random: () => number,
  elsewhere: Elsewhere,
) => Pick<Watched, 'layer' | 'clear' | 'store'>

export const makeLayer: Make = (
  { kind, options },
  name,
  { states, retries },
  random,
  elsewhere,
) => {
  if (kind === 'cache') {
    const layer: CacheLayer<string> = cache({ name, ...options })
    return { layer, clear: layer.clear }
  }
  if (kind === 'dedupe') return { layer: dedupe({ name }) }
  if (kind === 'timeout') return { layer: timeout({ name, ...options }) }
  if (kind === 'breaker') {
    const onStateChange = (state: BreakerState, key: string | undefined) =>
      states.push({ state, key, moment: now() })
    return { layer: breaker({ name, ...options, onStateChange }) }
  }
  if (kind === 'queue') return { layer: queue({ name, ...options }) }
  if (kind === 'pool') return { layer: pool({ name, ...options }) }
  if (kind === 'batcher') return { layer: batcher({ name, ...options }) }
  if (kind === 'rateLimit') {
    const store = new RecordingStore()
    return { layer: recordedLimit(options, store, RateLimits, name), store }
  }
  if (kind === 'fallback') {
    const to = options.to.map((target) => candidateOf(target, elsewhere))
    return { layer: fallback<string, Ask>({ name, to }) }
  }
  if (kind === 'hedge') {
    const { to, ...rest } = options
    const targets = to.map((target) => (target === 'elsewhere' ? elsewhere.stack : target))
    return { layer: hedge({ name, ...rest, ...(targets.length > 0 && { to: targets }) }) }
  }
  const onRetry = ({ error, delayMs }: { error: unknown; delayMs: number }) =>
    retries.push({ moment: now(), delayMs, asked: retryAfterOf(error) > 0 })
  return { layer: retry({ name, ...options, random, onRetry }) }
}

function candidateOf(target: string, { stack, give, fail }: Elsewhere): FallbackCandidate<Ask> {
  if (target === 'elsewhere') return stack
  if (target === 'value') return give
  return target === 'nothing' ? fail : target
}

export const retryAfterOf = (error: unknown): number =>
  (isStackError(error) && error.retryAfter) || 0

/** The place that the work in progress has come past last. */
const passing = new AsyncLocalStorage<Passed>()

/** Writes down what passes at one place. */
const place =
  (passed: Passed[], site: Site, onChange: () => void): LayerOf<Ask, unknown> =>
  (next) =>
  async (ask, context) => {
    const one = passes(ask, context, site)
    passed.push(one)
    const end = ({ outcome, error }: StreamEnd) => {
      one.ended = now()
      one.outcome = outcome
      one.error = error
      onChange()
    }
    try {
      const answer = await passing.run(one, () => next(ask, context))
      one.settled = now()
      return onEnd(answer, end)
    } catch (error) {
      one.settled = now()
      end({ outcome: 'failed', error })
      throw error
    }
  }

const passes = (ask: Ask, context: Context, site: Site): Passed => ({
  ask,
  context,
  site,
  began: now(),
  settled: undefined,
  ended: undefined,
  outcome: undefined,
  error: undefined,
  from: passing.getStore(),
})

/** Layers of the plans, outermost first, with a place to watch between any two. */
export function watchedStack(
  plans: readonly LayerPlan[],
  upstream: HistoryUpstream,
  random: () => number,
  onChange: () => void,
  make: Make = makeLayer,
) {
  const places: Passed[][] = [[]]
  const names = new Map<Kind, number>()
  const others: Elsewhere['stack'][] = []
  const watched = plans.map((plan, i): Watched => {
    const nth = (names.get(plan.kind) ?? 0) + 1
    names.set(plan.kind, nth)
    const name = nth === 1 ? plan.kind : `${plan.kind}${nth}`
    const log: Log = { states: [], retries: [] }
    const outside = places[i] as Passed[]
    const inside: Passed[] = []
    places.push(inside)
    const elsewhere: Passed[] = []
    const other = stack(upstream.baseAt('elsewhere'), place(elsewhere, 'elsewhere', onChange))
    others.push(other as unknown as Elsewhere['stack'])
    const away: Elsewhere = {
      stack: other as unknown as Elsewhere['stack'],
      give: (ask, context) => {
        const one = passes(ask, context, 'value')
        elsewhere.push(one)
        const value = upstream.give(ask, context)
        Object.assign(one, { settled: now(), ended: now(), outcome: 'complete' })
        return value
      },
      fail: (ask, context) => {
        const error = new Error('the function has no value')
        const one = passes(ask, context, 'nothing')
        elsewhere.push(one)
        Object.assign(one, { settled: now(), ended: now(), outcome: 'failed', error })
        throw error
      },
    }
    const made = make(plan, name, log, random, away)
    return { plan, name, outside, inside, elsewhere, ...log, ...made }
  })
  const at = (index: number) => place(places[index] as Passed[], 'here', onChange)
  const layers = watched.flatMap(({ layer }, i) => [at(i), layer])
  return { watched, layers: [...layers, at(plans.length)], others }
}
