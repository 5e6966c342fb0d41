import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { base, type CallOptions, type Context, stack } from '../../../../src/core/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import type { LimitedCall } from '../../../../src/layers/rate-limit/limited-call.js'
import type { Amounts } from '../../../../src/layers/rate-limit/limits.js'
import { RateLimits } from '../../../../src/layers/rate-limit/rate-limits.js'
import type { Reservation } from '../../../../src/layers/rate-limit/store.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { timeout } from '../../../../src/layers/timeout.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { RecordingStore, recordedLimit } from '../../../support/recorded-limit.js'
import { upstreamError } from '../../../support/upstream.js'
import { catchWarningsInEachTest } from '../../../support/warnings.js'

useFakeTimers()
catchWarningsInEachTest()

/** What a call asks for, and what becomes of it. */
interface Plan {
  readonly gap: number
  readonly kind: 'value' | 'throws' | 'fails' | 'limited' | 'down' | 'stream' | 'breaks' | 'ignores'
  readonly takesMs: number
  readonly tokens: number
  readonly reports: boolean
  readonly chunks: number
  /** Of a stream, how many chunks its reader wants; none: nobody reads it. */
  readonly reads: number
  readonly leavesAfterMs: number | undefined
  readonly timeoutMs: number | undefined
  readonly priority: number
  readonly tenant: string
}

const plan = fc.record<Plan>({
  gap: fc.constantFrom(0, 0, 0, 20, 300, 2_000),
  kind: fc.constantFrom(
    'value',
    'throws',
    'fails',
    'limited',
    'down',
    'stream',
    'stream',
    'breaks',
    'ignores',
  ),
  takesMs: fc.integer({ min: 0, max: 400 }),
  tokens: fc.integer({ min: 0, max: 400 }),
  reports: fc.boolean(),
  chunks: fc.integer({ min: 1, max: 4 }),
  reads: fc.integer({ min: 0, max: 5 }),
  leavesAfterMs: fc.option(fc.integer({ min: 0, max: 3_000 }), { nil: undefined, freq: 2 }),
  timeoutMs: fc.option(fc.integer({ min: 1, max: 5_000 }), { nil: undefined, freq: 2 }),
  priority: fc.integer({ min: 0, max: 2 }),
  tenant: fc.constantFrom('a', 'b'),
})

const pass = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

async function* stream({ chunks, takesMs, kind, reports, tokens }: Plan) {
  for (let i = 0; i < chunks; i++) {
    await pass(takesMs)
    yield { text: 'four', ...(reports && { usage: { input: tokens, output: i } }) }
  }
  if (kind === 'breaks') throw upstreamError('STREAM')
}

function answer(request: Plan, { signal }: Context): unknown {
  const { kind, takesMs, reports, tokens } = request
  if (kind === 'throws') throw new Error('at once')
  if (kind === 'stream' || kind === 'breaks') return stream(request)
  return new Promise((resolve, reject) => {
    if (kind !== 'ignores') signal.addEventListener('abort', () => reject(signal.reason))
    setTimeout(() => {
      if (kind === 'fails') reject(new Error('later'))
      else if (kind === 'limited') reject(upstreamError('RATE_LIMITED'))
      else if (kind === 'down') reject(upstreamError('SERVER'))
      else resolve({ text: 'done', ...(reports && { usage: { input: tokens, output: 7 } }) })
    }, takesMs)
  })
}

const traits = {
  weigh: ({ tokens }: Plan) => ({ input: tokens }),
  usage: (part: unknown) => (part as { usage?: { input: number; output: number } }).usage,
}

async function read(given: unknown, count: number): Promise<void> {
  if (typeof (given as AsyncIterable<unknown>)?.[Symbol.asyncIterator] !== 'function') return
  const iterator = (given as AsyncIterable<unknown>)[Symbol.asyncIterator]()
  for (let i = 0; i < count; i++) if ((await iterator.next()).done) return
  // Nobody reads on, and nobody says so: it ends by `unreadMs`, or by its caller's time.
  if (count > 0) await iterator.return?.()
}

type Inside = 'nothing' | 'retry' | 'queue' | 'timeout'
const layersOf: Record<Inside, () => Parameters<typeof stack>[1][]> = {
  nothing: () => [],
  retry: () => [retry({ retries: 1, minDelayMs: 50 })],
  queue: () => [queue({ concurrency: 1, maxWaiting: 3 })],
  timeout: () => [timeout({ ms: 250 })],
}

/** Plays a schedule to its end, and checks what is left. */
async function playOut(plans: readonly Plan[], inside: Inside, Limits: typeof RateLimits) {
  const store = new RecordingStore()
  const limit = recordedLimit(
    {
      requests: { limit: 120, burst: 4 },
      tokens: { limit: 6_000, burst: 1_000 },
      by: (_, { tenant }) => tenant,
      maxWaiting: 4,
      maxWaitMs: 5_000,
    },
    store,
    Limits,
  )
  const ask = stack(
    base(async (request: Plan, context: Context) => answer(request, context), traits),
    limit,
    ...(layersOf[inside]() as never[]),
  )
  const calls: Promise<unknown>[] = []
  for (const one of plans) {
    const { gap, leavesAfterMs, timeoutMs, priority, tenant, reads } = one
    await tick(gap)
    const caller = leavesAfterMs === undefined ? undefined : new AbortController()
    const options: CallOptions = { priority, tenant, timeoutMs, signal: caller?.signal }
    calls.push(
      ask(one, options)
        .then((given) => read(given, reads))
        .catch(() => {}),
    )
    if (caller) setTimeout(() => caller.abort(), leavesAfterMs)
  }
  await tick(120_000)
  await Promise.all(calls)
  const stats = limit.stats()
  expect(store.log.map(({ taken }) => taken.length)).toEqual(store.log.map(() => 1))
  expect(stats).toMatchObject({ waiting: 0, settled: stats.admitted, admitted: store.log.length })
  expect(stats.admitted + stats.rejected).toBeLessThanOrEqual(plans.length)
  for (const { reserved, taken } of store.log) {
    const { requests, tokens, cost } = taken[0] as Amounts
    expect([0, 1]).toContain(requests)
    expect(tokens).toBeGreaterThanOrEqual(0)
    expect(cost).toBe(0)
    if (requests === 0) expect(tokens).toBe(0)
    expect(reserved.requests).toBe(1)
  }
  expect(vi.getTimerCount()).toBe(0)
}

const always = (Limits: typeof RateLimits, numRuns: number) =>
  fc.assert(
    fc.asyncProperty(
      fc.array(plan, { minLength: 1, maxLength: 14 }),
      fc.constantFrom<Inside>('nothing', 'retry', 'queue', 'timeout'),
      (plans, inside) => playOut(plans, inside, Limits),
    ),
    { numRuns },
  )

/** Settles a call again that has ended. */
class Twice extends RateLimits {
  override settle(call: LimitedCall, reservation: Reservation, taken: Amounts): void {
    super.settle(call, reservation, taken)
    if (taken.tokens === 0 && taken.requests === 1) super.settle(call, reservation, taken)
  }
}

/** Forgets those whose caller has left. */
class Forgetful extends RateLimits {
  override settle(call: LimitedCall, reservation: Reservation, taken: Amounts): void {
    if (!call.context.cancel.aborted) super.settle(call, reservation, taken)
  }
}

describe('what a call has reserved', () => {
  it('is settled or given back exactly once, whatever becomes of the call', async () => {
    await always(RateLimits, 400)
  }, 120_000)

  it.each([
    ['twice', Twice],
    ['never', Forgetful],
  ])(
    'fails the check when it is settled %s',
    async (_, Wrong) => {
      await expect(always(Wrong, 400)).rejects.toThrow(/Property failed/)
    },
    120_000,
  )
})
