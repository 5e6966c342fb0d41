import { describe, expect, it } from 'vitest'
import { RateLimitError } from '../../src/core/index.js'
import type { LimitedCall } from '../../src/layers/rate-limit/limited-call.js'
import type { Amounts } from '../../src/layers/rate-limit/limits.js'
import { MemoryStore } from '../../src/layers/rate-limit/memory-store.js'
import { RateLimits } from '../../src/layers/rate-limit/rate-limits.js'
import type { Refusal, Reservation } from '../../src/layers/rate-limit/store.js'
import { useHistoryClock } from '../support/history-clock.js'
import { type Make, makeLayer } from '../support/history-layers.js'
import { RecordingStore, recordedLimit } from '../support/recorded-limit.js'
import { catchWarningsInEachTest } from '../support/warnings.js'
import { instead, type Mistake, noticing } from './wrong-layers.js'

const clock = useHistoryClock()
catchWarningsInEachTest()

/** Limits that are wrong in one way, or keep their levels in a store that is. */
const withLimits =
  (Limits: typeof RateLimits, Store = MemoryStore): Make =>
  (plan, name, ...rest) => {
    if (plan.kind !== 'rateLimit') return makeLayer(plan, name, ...rest)
    const store = new RecordingStore(new Store())
    return { layer: recordedLimit(plan.options, store, Limits, name), store }
  }

class ForgettingLimits extends RateLimits {
  override settle(call: LimitedCall, reservation: Reservation, taken: Amounts): void {
    if (taken.requests > 0) super.settle(call, reservation, taken)
  }
}

class RepeatingLimits extends RateLimits {
  override settle(call: LimitedCall, reservation: Reservation, taken: Amounts): void {
    super.settle(call, reservation, taken)
    super.settle(call, reservation, taken)
  }
}

class KeepingLimits extends RateLimits {
  override settle(call: LimitedCall, reservation: Reservation): void {
    super.settle(call, reservation, call.amounts)
  }
}

/** A fixed window: as much as the limit at once, and as much again when the next one begins. */
class FixedWindows extends MemoryStore {
  readonly #counts = new Map<string, number>()

  override reserve(
    ...asked: Parameters<MemoryStore['reserve']>
  ): ReturnType<MemoryStore['reserve']> {
    const [key, amounts, limits, ahead] = asked
    const decision = super.reserve(key, amounts, {} as never, ahead)
    if (!decision.granted) return decision
    const unit = limits.requests === undefined ? 'tokens' : 'requests'
    const { limit, intervalMs } = limits[unit] ?? { limit: 1, intervalMs: 1 }
    const window = Math.floor(performance.now() / intervalMs)
    const name = `${key} ${window}`
    const count = (this.#counts.get(name) ?? 0) + amounts[unit]
    if (count > Math.max(limit, amounts[unit]))
      return refusal((window + 1) * intervalMs - performance.now())
    this.#counts.set(name, count)
    return decision
  }
}

const refusal = (retryAfterMs: number): Refusal => ({
  granted: false,
  unit: 'requests',
  rate: undefined,
  retryAfterMs,
})

/** Who comes when there is room goes on, whoever waits. */
class PushyLimits extends RateLimits {
  override ask(call: LimitedCall): ReturnType<RateLimits['ask']> {
    return super.ask(call, { requests: 0, tokens: 0, cost: 0 })
  }
}

const MISTAKES: readonly Mistake[] = [
  [
    'what a call took that never ran is not given back',
    'rateLimit',
    withLimits(ForgettingLimits),
    'limitSettlesOnce',
  ],
  [
    'what a call took is given back twice',
    'rateLimit',
    withLimits(RepeatingLimits),
    'limitSettlesOnce',
  ],
  [
    'a call that was refused further in has taken its share',
    'rateLimit',
    withLimits(KeepingLimits),
    'limitTakesWhatRuns',
  ],
  [
    'a limit goes by fixed windows',
    'rateLimit',
    withLimits(RateLimits, FixedWindows),
    'limitKeepsRate',
  ],
  [
    'a newcomer goes before those who wait',
    'rateLimit',
    withLimits(PushyLimits),
    'limitKeepsOrder',
  ],
  [
    'the last one to come goes first',
    'rateLimit',
    instead('rateLimit', (next) => {
      const waiting: (() => void)[] = []
      return async (ask, context) => {
        if (waiting.length > 0 || context.attempts === 0) {
          setTimeout(() => waiting.pop()?.(), 10)
          await new Promise<void>((resolve) => waiting.push(resolve))
        }
        return next(ask, context)
      }
    }),
    'limitKeepsOrder',
  ],
  [
    'a wait for a limit goes on when the stack closes',
    'rateLimit',
    instead('rateLimit', (next) => async (ask, context) => {
      await new Promise((resolve) => setTimeout(resolve, 30))
      if (context.closing.aborted) throw new RateLimitError('too late', { refused: true })
      return next(ask, context)
    }),
    'closingEndsWaitsForLimits',
  ],
]

describe('the invariants of rateLimit', () => {
  it.each(MISTAKES)('notice when %s', async (...mistake) => {
    expect([...(await noticing(mistake, clock))]).toContain(mistake[3])
  })
})
