import fc from 'fast-check'
import type { Kind, LayerPlan, LayerPlans } from '../support/history-plans.js'
import type { CallPlan, Plan, Reading } from '../support/history-run.js'
import { CHUNKS } from '../support/history-traits.js'
import type { Behaviour } from '../support/history-upstream.js'

const between = (min: number, max: number) => fc.integer({ min, max })
/** Undefined once in so many times: of once it would always be. */
const maybe = <T>(arbitrary: fc.Arbitrary<T>, freq: 2 | 3 = 2) =>
  fc.option(arbitrary, { nil: undefined, freq })

const rate = (limit: fc.Arbitrary<number>, burst: fc.Arbitrary<number>) =>
  fc.record(
    { limit, intervalMs: between(20, 100), burst },
    { requiredKeys: ['limit', 'intervalMs'] },
  )

const options: { readonly [K in Kind]: fc.Arbitrary<LayerPlans[K]> } = {
  cache: fc.record({
    ttlMs: between(20, 200),
    staleMs: fc.constantFrom(0, 0, 50, 150),
    maxEntries: between(1, 5),
  }),
  dedupe: fc.constant({}),
  timeout: fc.record({
    ms: between(10, 200),
    streamMs: between(20, 300),
    firstTokenMs: between(10, 200),
    idleMs: between(10, 100),
  }),
  retry: fc.record({
    retries: between(0, 3),
    minDelayMs: fc.constantFrom(0, 5, 20),
    maxDelayMs: between(20, 60),
    maxRetryAfterMs: between(20, 100),
    budget: fc.record({
      ratio: fc.constantFrom(0, 0.2, 1),
      floor: between(0, 8),
      windowMs: fc.constantFrom(50, 200, 1_000),
    }),
  }),
  breaker: fc.record(
    {
      failureRate: fc.constantFrom(0.3, 0.5, 1),
      minimumCalls: between(1, 4),
      windowMs: fc.constantFrom(50, 200, 500),
      resetMs: between(20, 120),
      trials: between(1, 3),
      slowMs: between(5, 60),
      key: fc.constant('model' as const),
    },
    { requiredKeys: ['failureRate', 'minimumCalls', 'windowMs', 'resetMs', 'trials'] },
  ) as fc.Arbitrary<LayerPlans['breaker']>,
  queue: fc.record(
    {
      concurrency: fc.oneof(
        between(1, 4),
        fc.constantFrom({ min: 1, start: 1, max: 3 }, { min: 1, start: 2, max: 6 }),
      ),
      maxWaiting: between(0, 6),
      maxWaitMs: between(5, 80),
      fairness: fc.boolean(),
    },
    { requiredKeys: ['concurrency', 'maxWaiting'] },
  ) as fc.Arbitrary<LayerPlans['queue']>,
  pool: fc.record(
    {
      connections: between(1, 4),
      maxWaiting: between(0, 6),
      members: fc.constant([{ weight: 1 }, { weight: 1 }]),
    },
    { requiredKeys: ['connections', 'maxWaiting'] },
  ) as fc.Arbitrary<LayerPlans['pool']>,
  batcher: fc.record({ maxItems: between(2, 5), maxDelayMs: between(0, 8) }),
  rateLimit: fc
    .record(
      {
        requests: rate(between(1, 12), between(1, 12)),
        tokens: rate(between(20, 400), between(20, 200)),
        by: fc.constantFrom('tenant', 'model', 'all'),
        mode: fc.constantFrom('wait', 'wait', 'reject'),
        maxWaiting: between(0, 6),
        maxWaitMs: fc.constantFrom(20, 80, 1_000),
      },
      { requiredKeys: ['by', 'mode', 'maxWaiting', 'maxWaitMs'] },
    )
    .map((chosen) =>
      chosen.requests === undefined && chosen.tokens === undefined
        ? { ...chosen, requests: { limit: 5, intervalMs: 50 } }
        : chosen,
    ) as fc.Arbitrary<LayerPlans['rateLimit']>,
  fallback: fc.record({
    to: fc.shuffledSubarray(['spare', 'second', 'elsewhere', 'value', 'nothing'], {
      minLength: 1,
      maxLength: 3,
    }),
  }),
  hedge: fc.record({
    delayMs: between(2, 30),
    to: fc.shuffledSubarray(['spare', 'second', 'elsewhere'], { maxLength: 2 }),
    budget: fc.constantFrom(
      false as const,
      { size: 10, start: 1, perSuccess: 0.05 },
      { size: 2, start: 2, perSuccess: 0.5 },
    ),
  }),
}

const layer = (kind: Kind): fc.Arbitrary<LayerPlan> =>
  options[kind].map((chosen) => ({ kind, options: chosen }) as LayerPlan)

const RECOMMENDED: Kind[] = [
  'cache',
  'dedupe',
  'rateLimit',
  'timeout',
  'fallback',
  'retry',
  'hedge',
  'breaker',
  'queue',
  'rateLimit',
  'timeout',
  'pool',
]
const ONCE: Kind[] = ['cache', 'dedupe', 'timeout', 'retry', 'breaker', 'queue', 'pool', 'batcher']
const ANY: Kind[] = [
  ...ONCE,
  'timeout',
  'retry',
  'queue',
  'breaker',
  'rateLimit',
  'fallback',
  'hedge',
  'rateLimit',
]

/** The recommended order, a part of it, or any order of any layers. */
export const layers: fc.Arbitrary<LayerPlan[]> = fc
  .oneof(
    { weight: 1, arbitrary: fc.constant(RECOMMENDED) },
    { weight: 2, arbitrary: fc.subarray(RECOMMENDED, { minLength: 1 }) },
    { weight: 4, arbitrary: fc.shuffledSubarray(ANY, { minLength: 1, maxLength: 9 }) },
  )
  .chain((kinds) => fc.tuple(...kinds.map(layer)))
  .map((plans) =>
    plans.map((plan, i) => {
      // A renewal has no caller, so only a time limit further in would end one that hangs.
      const bounded = plans.slice(i).some(({ kind }) => kind === 'timeout')
      return plan.kind === 'cache' && !bounded
        ? { kind: plan.kind, options: { ...plan.options, staleMs: 0 } }
        : plan
    }),
  )

const reading: fc.Arbitrary<Reading> = fc.record({
  take: fc.oneof(
    { weight: 5, arbitrary: fc.constant('whole' as const) },
    { weight: 3, arbitrary: between(0, CHUNKS) },
    { weight: 1, arbitrary: fc.constant('nothing' as const) },
  ),
  pauseMs: fc.constantFrom(0, 0, 0, 7, 40),
})

const call = (index: number): fc.Arbitrary<CallPlan> =>
  fc.record({
    atMs: fc.oneof(between(0, 300), fc.constantFrom(0, 10, 100)),
    prompt: fc.oneof(
      { weight: 2, arbitrary: fc.constant(`own ${index}`) },
      { weight: 3, arbitrary: fc.constantFrom('shared a', 'shared b') },
    ),
    model: fc.constantFrom('first', 'first', 'first', 'second'),
    stream: fc.boolean(),
    priority: between(-1, 1),
    tenant: fc.constantFrom(undefined, undefined, 'alice', 'bob'),
    cache: fc.constantFrom('default', 'default', 'default', 'reload', 'no-store'),
    timeoutMs: fc.oneof(between(1, 60), between(60, 400)),
    abortAfterMs: maybe(between(0, 120), 3),
    reading,
  })

const behaviour: fc.Arbitrary<Behaviour> = fc.record({
  does: fc.oneof(
    { weight: 5, arbitrary: fc.constant('answer' as const) },
    { weight: 5, arbitrary: fc.constant('fail' as const) },
    {
      weight: 4,
      arbitrary: fc.constantFrom(
        'hang' as const,
        'deaf' as const,
        'cut' as const,
        'stall' as const,
        'short' as const,
      ),
    },
  ),
  ms: fc.oneof(between(0, 10), between(0, 60)),
  after: between(0, CHUNKS - 1),
  error: fc.constantFrom(
    'SERVER',
    'SERVER',
    'NETWORK',
    'RATE_LIMITED',
    'BAD_REQUEST',
    'AUTH',
    'NOT_FOUND',
    'PROTOCOL',
    'foreign',
    'mistake',
  ),
  retryAfter: maybe(between(1, 120)),
})

/** A storm: calls, faults, aborts, readers of all kinds, perhaps a close in the middle of it. */
export const plan = (of: fc.Arbitrary<LayerPlan[]> = layers): fc.Arbitrary<Plan> =>
  fc.record({
    layers: of,
    calls: between(1, 24).chain((count) =>
      fc.tuple(...Array.from({ length: count }, (_, index) => call(index))),
    ),
    script: fc.array(behaviour, { maxLength: 40, size: 'max' }),
    jitter: fc.array(
      between(0, 99).map((n) => n / 100),
      { minLength: 1, maxLength: 8 },
    ),
    clearAtMs: maybe(between(0, 300)),
    close: maybe(fc.record({ atMs: between(0, 350), timeoutMs: fc.constantFrom(0, 30, 500) })),
  })
