import { defineLayer, type Handler, type Layer } from '../../src/core/index.js'
import type { Amounts, Limits } from '../../src/layers/rate-limit/limits.js'
import { MemoryStore } from '../../src/layers/rate-limit/memory-store.js'
import { type RateLimitOptions, readLimits } from '../../src/layers/rate-limit/options.js'
import { RateLimits } from '../../src/layers/rate-limit/rate-limits.js'
import type { LimitStore, Reservation } from '../../src/layers/rate-limit/store.js'
import { type Moment, now } from './history-clock.js'

/** What a call was thought to take, and what it has taken: none until it has ended. */
export interface Recorded {
  readonly key: string
  readonly reserved: Amounts
  readonly granted: Moment
  readonly taken: Amounts[]
  readonly settled: Moment[]
}

/** A store that writes down what is granted and how it is settled. */
export class RecordingStore implements LimitStore {
  readonly log: Recorded[] = []
  readonly inner: LimitStore
  readonly #open = new Map<Reservation, Recorded>()

  constructor(inner: LimitStore = new MemoryStore()) {
    this.inner = inner
  }

  get keys(): number {
    return this.inner.keys
  }

  reserve(...asked: Parameters<LimitStore['reserve']>): ReturnType<LimitStore['reserve']> {
    const decision = this.inner.reserve(...asked)
    return decision instanceof Promise
      ? decision.then((decided) => this.#note(asked, decided))
      : this.#note(asked, decision as Awaited<typeof decision>)
  }

  #note([key, reserved]: [string, Amounts, Limits, Amounts], decision: Decision): Decision {
    if (!decision.granted) return decision
    const recorded: Recorded = { key, reserved, granted: now(), taken: [], settled: [] }
    this.log.push(recorded)
    this.#open.set(decision, recorded)
    return decision
  }

  settle(reservation: Reservation, taken: Amounts): ReturnType<LimitStore['settle']> {
    const recorded = this.#open.get(reservation)
    recorded?.taken.push(taken)
    recorded?.settled.push(now())
    return this.inner.settle(reservation, taken)
  }

  levels(key: string, limits: Limits): ReturnType<LimitStore['levels']> {
    return this.inner.levels(key, limits)
  }
}

type Decision = Awaited<ReturnType<LimitStore['reserve']>>
type Stats = ReturnType<RateLimits['stats']>

/** A `rateLimit()` on a store of the test's own. */
export function recordedLimit<const Name extends string = 'limit'>(
  { by = 'all', mode = 'wait', maxWaiting = 1_000, maxWaitMs = 60_000, ...given }: RateLimitOptions,
  store: LimitStore = new RecordingStore(),
  Limits: typeof RateLimits = RateLimits,
  name = 'limit' as Name,
): Layer<Name, Stats> {
  const { countTokens } = given as { countTokens?: (request: unknown) => number }
  const limits = new Limits(
    { ...readLimits(given), name, by, countTokens, mode, maxWaiting, maxWaitMs },
    store,
  )
  return defineLayer({
    name,
    kind: 'rateLimit',
    wrap: (next) => (request, context) => limits.run(next as Handler, request, context),
    stats: () => limits.stats(),
  }) as Layer<Name, Stats>
}
