import { type CallOptions, isStackError } from '../../src/core/index.js'
import { type HistoryClock, settle } from './history-clock.js'
import type { Watched } from './history-layers.js'
import { burstOf, type LayerPlan, type RatePlan, widthOf } from './history-plans.js'
import type { Stats } from './history-run.js'
import { weightOfStream } from './history-traits.js'
import type { Ask, Chunk, HistoryUpstream } from './history-upstream.js'
import { watch } from './watch.js'

export interface Asked {
  (request: Ask, options: CallOptions): Promise<unknown>
  stats(): object
  close(options: { timeoutMs: number }): Promise<void>
}

/** What calls behind a storm have found. */
export interface Probe {
  readonly alone: unknown
  /** The calls that the layers should let through at once. */
  readonly fits: number
  /** Requests upstream while as many calls as fit were made, and with one call more. */
  readonly full: number
  readonly over: number
  readonly outcomes: readonly unknown[]
}

/** Of the calls that fit, so many are made. */
export const PROBED = 8
/** After so many successes a gate that was shut is open for more than a probe asks for. */
const SUCCESSES = 8
/** After refusals that name no time: 8 s, and a quarter of it. */
const LONGEST_PAUSE_MS = 10_000
/** A member that fails is left out for so long, and a candidate passed over. */
const LEFT_OUT_MS = 30_000

/** The time after which nothing of the storm may be felt any more. */
export const restOf = (layers: readonly LayerPlan[]): number =>
  200 +
  Math.max(
    0,
    ...layers.map(({ kind, options }) => {
      if (kind === 'breaker') return 2 * options.resetMs + options.windowMs
      if (kind === 'pool' || kind === 'fallback') return LEFT_OUT_MS
      return kind === 'queue' ? LONGEST_PAUSE_MS : 0
    }),
    refillMs(layers),
  )

const ratesOf = (plan: LayerPlan): (readonly ['requests' | 'tokens', RatePlan])[] =>
  plan.kind !== 'rateLimit'
    ? []
    : (['requests', 'tokens'] as const).flatMap((unit) => {
        const rate = plan.options[unit]
        return rate === undefined ? [] : [[unit, rate] as const]
      })

/** The time after which every limit lets through as much as ever, whatever it has corrected. */
const refillMs = (layers: readonly LayerPlan[]): number =>
  Math.max(0, ...layers.flatMap(ratesOf).map(([, { intervalMs }]) => 3 * intervalMs))

/** Streams that a layer at rest lets through at once. */
function fitsThrough({ plan, name }: Watched, stats: Stats): number {
  if (plan.kind === 'queue') return Number(stats[name]?.concurrency)
  const bursts = ratesOf(plan).map(([unit, rate]) => {
    const burst = burstOf(rate)
    return Math.max(1, Math.floor(burst / (unit === 'requests' ? 1 : weightOfStream)))
  })
  return Math.min(widthOf(plan), ...bursts)
}

interface Rested {
  readonly clock: HistoryClock
  readonly ask: Asked
  readonly upstream: HistoryUpstream
  readonly watched: readonly Watched[]
}

/**
 * Makes as many calls as fit, then one more, of a stack that has come to rest. Streams, as a
 * batcher would merge plain calls.
 */
export async function probed({ clock, ask, upstream, watched }: Rested): Promise<Probe> {
  let made = 0
  const call = async (): Promise<unknown> => {
    const chunks: Chunk[] = []
    const request = { prompts: [`probe ${++made}`], stream: true, model: 'first' }
    try {
      const stream = await ask(request, { timeoutMs: 2_000 })
      for await (const chunk of stream as AsyncIterable<Chunk>) chunks.push(chunk)
      return chunks.length
    } catch (error) {
      return isStackError(error) ? error.code : error
    }
  }
  const alone: unknown[] = []
  for (let i = 0; i < SUCCESSES; i++) {
    const next = watch(call())
    await clock.passUntil(() => next.state !== 'pending', 3_000)
    await clock.pass(refillMs(watched.map(({ plan }) => plan)))
    alone.push(next.value)
  }
  const stats = ask.stats() as Stats
  const fits = Math.min(...watched.map((layer) => fitsThrough(layer, stats)))
  const release = upstream.hold()
  const calls = Array.from({ length: Math.min(fits, PROBED) }, call)
  await settle()
  const full = upstream.active.here
  calls.push(call())
  await settle()
  const over = upstream.active.here
  release()
  const all = watch(Promise.all(calls))
  await clock.passUntil(() => all.state !== 'pending', 5_000)
  return { alone: alone[0], fits, full, over, outcomes: all.value ?? [] }
}
