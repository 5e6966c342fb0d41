import { base, breaker, cache, dedupe, type Layer, queue, rateLimit, stack } from 'blossom-stack'
import { type RedisShared, redisShared } from 'blossom-stack/redis'
import { createClient } from 'redis'
import { RedisServer } from '../support/redis-server.js'
import type { Bench, Contenders } from './bench.js'
import { freshPrompt, perSecond } from './load.js'
import type { Sample } from './table.js'

/** Calls in progress. */
const WIDTH = 64
const CHUNKS = Array.from({ length: 50 }, (_, i) => `word ${i} `)
const REDIS_CPU = 'Redis µs'
/** A tenth of the limit a call: never in anybody's way. */
const WIDE = 1e9

type Call = (prompt: string) => Promise<unknown>

type Own = { readonly shared?: RedisShared }

/** What each layer costs that can share its state, around a function that does nothing. */
const LAYERS: Readonly<Record<string, (own: Own) => readonly Layer[]>> = {
  cache: (own) => [cache({ ...own, maxEntries: 1_000 })],
  dedupe: (own) => [dedupe(own)],
  rateLimit: (own) => [rateLimit({ requests: WIDE, by: 'all', ...own })],
  exact: (own) => [
    rateLimit({ requests: WIDE, by: 'all', ...('shared' in own && { exact: true }), ...own }),
  ],
  breaker: (own) => [breaker(own)],
  queue: (own) => [queue({ concurrency: 2 * WIDTH, ...own })],
  all: (own) => [
    cache({ ...own, maxEntries: 1_000 }),
    dedupe(own),
    rateLimit({ requests: WIDE, by: 'all', ...own }),
    breaker(own),
    queue({ concurrency: 2 * WIDTH, ...own }),
  ],
}

const TITLES: Readonly<Record<string, string>> = {
  cache: 'cache, every call a miss',
  dedupe: 'dedupe, every call its own',
  rateLimit: 'rateLimit, leased',
  exact: 'rateLimit, exact',
  breaker: 'breaker, closed',
  queue: 'queue with a free slot',
  all: 'cache, dedupe, rateLimit, breaker and queue',
}

const identity = { name: 'ask', key: (prompt: string) => prompt }
const value = base(async (prompt: string) => ({ text: prompt }), identity)
const stream = base(async (_: string) => {
  async function* chunks() {
    yield* CHUNKS
  }
  return chunks()
}, identity)

/** Calls a second, what they cost this process, and what they cost Redis. */
async function measured(ms: number, call: Call, redisCpu: () => Promise<number>): Promise<Sample> {
  const before = await redisCpu()
  let calls = 0
  const rate = await perSecond(WIDTH, ms, async () => {
    await call(freshPrompt())
    calls++
    return 1
  })
  // What nobody waits for is part of it.
  await new Promise((resolve) => setTimeout(resolve, 50))
  const cost = ((await redisCpu()) - before) / calls
  return { ...rate, more: { ...rate.more, [REDIS_CPU]: cost } }
}

const readAll = async (answer: unknown) => {
  for await (const _ of answer as AsyncIterable<unknown>);
}

/** What it costs to share state between processes, beside the same layers alone. */
export async function run(bench: Bench): Promise<void> {
  const redis = await RedisServer.start().catch(() => undefined)
  if (redis === undefined) return bench.leaveOut('there is no program redis-server.')
  const client = createClient({ url: redis.url })
  await client.connect()
  const redisCpu = async () => {
    const text = await client.info('cpu')
    const used = (name: string) => Number(new RegExp(`used_cpu_${name}:(.*)`).exec(text)?.[1])
    return (used('user') + used('sys')) * 1e6
  }
  const shared = redisShared({ url: redis.url, timeoutMs: 10_000 })
  while ((await shared.entries('any').get('any')) === null);
  const ms = bench.ms(700)
  const sides = (make: (own: Own) => readonly Layer[], isStream = false): Contenders => {
    const side = (own: Own) => {
      const call = (isStream ? stack(stream, ...make(own)) : stack(value, ...make(own))) as Call
      const whole = async (prompt: string) => readAll(await call(prompt))
      return () => measured(ms, isStream ? whole : call, redisCpu)
    }
    return { local: side({}), shared: side({ shared }) }
  }
  const title = (what: string) => `${what}: alone, and shared by Redis`
  for (const [name, make] of Object.entries(LAYERS))
    await bench.table(name, title(TITLES[name] ?? name), 'calls/s', sides(make), { rounds: 5 })
  const streamed = sides(LAYERS.dedupe as (own: Own) => readonly Layer[], true)
  const what = title(`dedupe, streams of ${CHUNKS.length} chunks`)
  await bench.table('stream', what, 'calls/s', streamed, { rounds: 5 })
  await shared.close()
  client.destroy()
  await redis.remove()
}
