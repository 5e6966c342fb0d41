import { afterEach, describe, expect, it, vi } from 'vitest'
import { upstreamError as errorOf } from '../../../src/client/wire/upstream-error.js'
import { createGateway } from '../../../src/gateway/index.js'
import {
  base,
  breaker,
  type Context,
  createBlossom,
  pool,
  rateLimit,
  retry,
  stack,
} from '../../../src/index.js'
import { startLocalBlossom } from '../../../src/testing/index.js'
import { failure, watch } from '../../support/watch.js'

afterEach(() => {
  vi.useRealTimers()
})

const REFUSED = [401, 402, 403, 429]
const MEMBERS = [{ apiKey: 'sk_first' }, { apiKey: 'sk_second' }]

interface Ask {
  own: boolean
  status: number
}

/** A function whose request tells whether it brings a key, and what upstream answers. */
const asking = () =>
  base(
    async ({ status }: Ask) => {
      if (status !== 200)
        throw errorOf({ upstreamStatus: status, ...(status === 429 && { retryAfter: 60_000 }) })
      return 'ok'
    },
    { ownKey: ({ own }) => own },
  )

describe('what upstream says of a key that a call brought itself', () => {
  it.each(REFUSED)('leaves the members of a pool as they are: %i', async (status) => {
    const ask = stack(asking(), pool({ members: MEMBERS }))
    for (let i = 0; i < 20; i++) await failure(ask({ own: true, status }))
    expect(ask.stats().pool.members.map(({ state }) => state)).toEqual(['ready', 'ready'])
  })

  it.each([401, 402, 429])('puts a member aside when the key is its own: %i', async (status) => {
    const ask = stack(asking(), pool({ members: MEMBERS }))
    await failure(ask({ own: false, status }))
    expect(ask.stats().pool.members[0]?.state).not.toBe('ready')
  })

  it('puts a member aside that fails, whoever pays', async () => {
    const ask = stack(asking(), pool({ members: MEMBERS }))
    for (let i = 0; i < 10; i++) await failure(ask({ own: true, status: 500 }))
    expect(ask.stats().pool.members.map(({ state }) => state)).toEqual(['ejected', 'ejected'])
  })

  it.each(REFUSED)('opens no breaker, whatever its rule: %i', async (status) => {
    const ask = stack(asking(), breaker({ minimumCalls: 1, counts: () => true }))
    for (let i = 0; i < 20; i++) await failure(ask({ own: true, status }))
    expect(ask.stats().breaker).toMatchObject({ state: 'closed', failures: 0 })
    await failure(ask({ own: false, status }))
    expect(ask.stats().breaker.state).toBe('open')
  })

  it.each(REFUSED)(
    'gives back to a rate limit what it gives back of others: %i',
    async (status) => {
      const left = async (own: boolean) => {
        const ask = stack(
          asking(),
          rateLimit({ requests: 60, tokens: 600, by: 'all', mode: 'reject' }),
        )
        await failure(ask({ own, status }))
        let count = 0
        for (; (await ask({ own: false, status: 200 }).catch(() => '')) === 'ok'; ) count++
        return count
      }
      expect(await left(true)).toBe(await left(false))
    },
  )

  it('is waited for as long as was asked, as another member would send the same key', async () => {
    vi.useFakeTimers()
    const used: (number | undefined)[] = []
    const fail = [503, 429]
    const ask = stack(
      base(
        async (_: string, { transport }: Context) => {
          used.push(transport?.member)
          const upstreamStatus = fail.shift()
          if (upstreamStatus === undefined) return 'ok'
          throw errorOf({ upstreamStatus, retryAfter: upstreamStatus === 429 ? 5_000 : undefined })
        },
        { ownKey: () => true },
      ),
      retry({ minDelayMs: 0 }),
      pool({ members: MEMBERS }),
    )
    const call = watch(ask('x'))
    await vi.advanceTimersByTimeAsync(4_999)
    expect(used).toHaveLength(2)
    await vi.advanceTimersByTimeAsync(1)
    expect(call.value).toBe('ok')
  })

  it.each(REFUSED)(
    'counts against nobody behind a gateway with forwardKeys: %i',
    async (status) => {
      await using local = await startLocalBlossom()
      await using blossom = createBlossom({
        baseURL: local.url,
        layers: [breaker({ minimumCalls: 1 }), pool({ members: MEMBERS })],
      })
      const gateway = createGateway(blossom, { forwardKeys: true })
      const ask = (headers: Record<string, string>) =>
        gateway(
          new Request('http://localhost/generate/text', {
            method: 'POST',
            headers: { 'content-type': 'application/json', ...headers },
            body: '{"prompt":"Hello"}',
          }),
        )
      local.fail(status, 6)
      for (let i = 0; i < 6; i++)
        expect((await ask({ authorization: 'Bearer sk_caller' })).status).toBe(status)
      expect(blossom.stats()).toMatchObject({
        breaker: { state: 'closed', failures: 0 },
        pool: { members: [{ state: 'ready' }, { state: 'ready' }] },
      })
      expect((await ask({})).status).toBe(200)
    },
  )
})
