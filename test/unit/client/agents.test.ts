import { createHash } from 'node:crypto'
import { Agent } from 'undici'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createBlossom } from '../../../src/client/client.js'
import { pool } from '../../../src/layers/pool/index.js'
import { standard } from '../../../src/standard.js'
import { type LocalBlossom, startLocalBlossom } from '../../../src/testing/index.js'

const made = vi.hoisted(() => ({
  options: [] as unknown[],
  agents: [] as { destroyed: boolean }[],
}))

vi.mock('undici', async (original) => {
  const real = await original<typeof import('undici')>()
  return {
    ...real,
    Agent: class extends real.Agent {
      constructor(options?: ConstructorParameters<typeof real.Agent>[0]) {
        super(options)
        made.options.push(options)
        made.agents.push(this)
      }
    },
  }
})

let upstream: LocalBlossom

beforeEach(async () => {
  upstream = await startLocalBlossom({ latencyMs: 5 })
  made.options = []
  made.agents = []
})

afterEach(() => upstream.close())

const KEY = 'sk_client'
const sha = (key: string) => createHash('sha256').update(key).digest('hex')
const many = (count: number, ask: (n: number) => Promise<unknown>) =>
  Promise.all(Array.from({ length: count }, (_, n) => ask(n)))
const client = (options = {}) => createBlossom({ apiKey: KEY, baseURL: upstream.url, ...options })

describe('the agents of a client', () => {
  it('are a single agent without a pool, with as many sockets as needed', async () => {
    await using blossom = client()
    await many(12, (n) => blossom.text.generate(`prompt ${n}`))
    expect(made.options).toEqual([{ headersTimeout: 0, bodyTimeout: 0 }])
  })

  it('are one per pool member, created on first use, each with its own connections', async () => {
    await using blossom = client().use(
      pool({ connections: 3, members: [{}, { apiKey: 'sk_second' }] }),
    )
    blossom.stats()
    expect(made.options).toEqual([])
    await blossom.text.generate('the first')
    const options = { connections: 3, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 }
    expect(made.options).toEqual([options])
    await many(12, (n) => blossom.text.generate(`prompt ${n}`))
    expect(made.options).toEqual([options, options])
    expect(upstream.maxActive).toBeLessThanOrEqual(6)
  })

  it('are destroyed with their client, but not with another client that shares its pool', async () => {
    const shared = pool()
    const one = client().use(shared)
    const other = client().use(shared)
    await one.text.generate('Hello')
    await other.text.generate('Hi')
    await one.close()
    expect(made.agents.map(({ destroyed }) => destroyed)).toEqual([true, false])
    await other.text.generate('Hello again')
    await other.close()
    expect(made.agents.map(({ destroyed }) => destroyed)).toEqual([true, true])
  })
})

describe('a dispatcher of the caller', () => {
  /** Carries calls as a proxy does, and remembers where to and in whose name. */
  class Carrier extends Agent {
    readonly carried: string[] = []
    override dispatch(...[options, handler]: Parameters<Agent['dispatch']>): boolean {
      const headers = options.headers as string[]
      this.carried.push(`${options.origin} ${headers[headers.indexOf('authorization') + 1]}`)
      return super.dispatch(options, handler)
    }
  }

  it('carries the calls of the whole recommended stack, and the pool bounds them', async () => {
    const proxy = new Carrier()
    made.agents = []
    const blossom = client({ dispatcher: proxy }).use(...standard())
    await many(30, (n) => blossom.text.generate(`prompt ${n}`))
    expect(proxy.carried).toEqual(Array.from({ length: 30 }, () => `${upstream.url} Bearer ${KEY}`))
    expect(upstream.maxActive).toBeLessThanOrEqual(blossom.stats().pool.max)
    await blossom.close()
    expect(made.agents).toEqual([])
    expect([proxy.closed, proxy.destroyed]).toEqual([false, false])
    await proxy.close()
  })

  it('carries all members of a pool, each with its key and to its address', async () => {
    await using second = await startLocalBlossom()
    const proxy = new Carrier()
    const blossom = client({ dispatcher: proxy }).use(
      pool({ connections: 2, members: [{}, { apiKey: 'sk_second', baseURL: second.url }] }),
    )
    await many(8, (n) => blossom.text.generate(`prompt ${n}`))
    expect(new Set(proxy.carried)).toEqual(
      new Set([`${upstream.url} Bearer ${KEY}`, `${second.url} Bearer sk_second`]),
    )
    expect(new Set(second.requests.map(({ keySha256 }) => keySha256))).toEqual(
      new Set([sha('sk_second')]),
    )
    expect(upstream.maxActive).toBeLessThanOrEqual(2)
    await blossom.close()
    await proxy.close()
  })
})
