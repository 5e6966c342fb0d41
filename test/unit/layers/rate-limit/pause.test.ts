import { describe, expect, it, vi } from 'vitest'
import { createBlossom } from '../../../../src/client/client.js'
import {
  base,
  type CallOptions,
  type Context,
  now,
  stack,
  UPSTREAM_PAUSE,
  type UpstreamPause,
} from '../../../../src/core/index.js'
import { type RateLimitOptions, rateLimit } from '../../../../src/layers/rate-limit/index.js'
import { httpServer } from '../../../support/bare-server.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { catchWarningsInEachTest } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
catchWarningsInEachTest()

interface Ask {
  /** For how long upstream reports that nothing is left. */
  readonly pausesMs?: number
  readonly unit?: UpstreamPause['unit']
  readonly fails?: boolean
  readonly own?: boolean
}

const fn = base(
  async ({ pausesMs, unit, fails }: Ask, { meta }: Context) => {
    if (pausesMs !== undefined) meta.set(UPSTREAM_PAUSE, { until: now() + pausesMs, unit })
    if (fails) throw new Error('x')
    return 'ok'
  },
  { ownKey: ({ own }) => own === true },
)

function limited(options: RateLimitOptions = {}) {
  const ask = stack(fn, rateLimit({ requests: 6_000, ...options }))
  const call = (request: Ask = {}, of?: CallOptions) => watch(ask(request, of))
  return { ask, call, stats: () => ask.stats().rateLimit }
}

describe('a limit that upstream reports as used up', () => {
  it('pauses all keys until it is reset', async () => {
    const { ask, call } = limited()
    await ask({ pausesMs: 2_000, unit: 'tokens' }, { tenant: 'a' })
    const calls = ['a', 'b'].map((tenant) => call({}, { tenant }))
    await tick(1_999)
    expect(calls.map(({ state }) => state)).toEqual(['pending', 'pending'])
    await tick(1)
    expect(calls.map(({ state }) => state)).toEqual(['resolved', 'resolved'])
  })

  it('rejects calls that may not wait long enough', async () => {
    const { ask } = limited({ mode: 'reject' })
    await ask({ pausesMs: 2_000, unit: 'tokens' })
    expect(await failure(ask({}))).toMatchObject({
      code: 'RATE_LIMITED',
      refused: true,
      retryAfter: 2_000,
      unit: 'tokens',
      limit: undefined,
      message: "Rejected: upstream's limit is used up. Retry after 2000 ms.",
    })
    const waits = limited({ maxWaitMs: 1_000 })
    await waits.ask({ pausesMs: 2_000 })
    expect(await failure(waits.ask({}))).toMatchObject({ retryAfter: 2_000, unit: undefined })
  })

  it('is kept from failures as well, and the longest of several', async () => {
    const { ask, call } = limited()
    await failure(ask({ pausesMs: 3_000, fails: true }))
    const later = call({ pausesMs: 1_000 })
    await tick(2_999)
    expect(later.state).toBe('pending')
    await tick(1)
    expect(later.state).toBe('resolved')
    await tick(1_000)
    expect(await ask({})).toBe('ok')
  })

  it('keeps waiting calls waiting longer', async () => {
    const { ask, call } = limited({ requests: { limit: 60, burst: 1 } })
    const pausing = ask({ pausesMs: 5_000 })
    const waiting = call()
    await pausing
    await tick(4_999)
    expect(waiting.state).toBe('pending')
    await tick(1)
    expect(waiting.state).toBe('resolved')
  })

  it('applies only to the innermost limit', async () => {
    const [outer, inner] = [
      rateLimit({ requests: 6_000, name: 'outer', by: 'tenant' }),
      rateLimit({ requests: 6_000, name: 'inner', by: 'all' }),
    ]
    const both = stack(fn, outer, inner)
    const other = stack(fn, outer)
    const meta = new Map<string, unknown>()
    await both({ pausesMs: 2_000 }, { meta })
    expect(meta.has(UPSTREAM_PAUSE)).toBe(false)
    expect(await other({})).toBe('ok')
    const paused = watch(both({}))
    await tick(2_000)
    expect(paused.state).toBe('resolved')
  })

  it('is ignored when it belongs to a key that the call brings itself', async () => {
    const { ask } = limited()
    await ask({ pausesMs: 60_000, own: true })
    expect(await ask({})).toBe('ok')
  })

  it('lasts for a day at most, whatever upstream reports', async () => {
    const { ask } = limited({ mode: 'reject' })
    await ask({ pausesMs: 1e15 })
    expect(await failure(ask({}))).toMatchObject({ retryAfter: 24 * 3_600_000 })
  })

  it('is nothing when it is over, or no such thing', async () => {
    const { ask } = limited({ mode: 'reject' })
    await ask({ pausesMs: -5 })
    await ask({ pausesMs: Number.NaN })
    for (const note of [{ until: 'soon' }, null, 5])
      await ask({}, { meta: new Map([[UPSTREAM_PAUSE, note]]) })
    expect(await ask({})).toBe('ok')
  })

  it('comes from the headers of the client’s answers', async () => {
    vi.useRealTimers()
    await using server = await httpServer((_, response) => {
      response.setHeader('content-type', 'application/json')
      response.setHeader('x-ratelimit-remaining-requests', '0')
      response.setHeader('x-ratelimit-reset-requests', '6m0s')
      response.end('{"data":[]}')
    })
    await using blossom = createBlossom({
      baseURL: server.url,
      layers: [rateLimit({ requests: 600, by: 'all' })],
    })
    await blossom.models.list()
    expect(await failure(blossom.models.list())).toMatchObject({
      code: 'RATE_LIMITED',
      refused: true,
      unit: 'requests',
    })
  })
})
