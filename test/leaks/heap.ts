/**
 * Twenty rounds of calls most of which fail, each followed by a collection. Prints the heap after
 * each round, in bytes.
 */
import { createBlossom } from '../../src/client/index.js'
import { type Context, stack } from '../../src/core/index.js'
import { batcher } from '../../src/layers/batcher/index.js'
import { breaker } from '../../src/layers/breaker/index.js'
import { cache } from '../../src/layers/cache/index.js'
import { dedupe } from '../../src/layers/dedupe/index.js'
import { pool } from '../../src/layers/pool/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { retry } from '../../src/layers/retry/index.js'
import { timeout } from '../../src/layers/timeout.js'
import { chunkSource, startLocalBlossom } from '../../src/testing/index.js'

const ROUNDS = 20
const CALLS = 300
const OVER_SOCKETS = 16

const collect = globalThis.gc as () => void
const layers = () =>
  [
    cache({ maxEntries: 50, ttlMs: 50 }),
    dedupe(),
    timeout({ ms: 5_000, idleMs: 1_000 }),
    retry({ retries: 1, minDelayMs: 0 }),
    breaker({
      key: (request) => String(JSON.stringify(request)?.length),
      minimumCalls: 5,
      resetMs: 1,
    }),
    queue({ concurrency: 50, maxWaiting: 10_000 }),
    pool({ connections: 40, maxWaiting: 10_000 }),
  ] as const

/** Does what the request says: most of it goes wrong. */
async function base(request: string, { signal }: Context): Promise<unknown> {
  const [kind] = request.split(' ')
  if (kind === 'fail') throw new Error('the function failed')
  if (kind === 'cut') return chunkSource([1, 2], { error: new Error('cut') })
  if (kind === 'stream') return chunkSource(['one', 'two', 'three'])
  if (kind === 'hang')
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  return { text: 'x'.repeat(200) }
}
const KINDS = ['fail', 'cut', 'stream', 'hang', 'answer', 'left']

const upstream = await startLocalBlossom({ coalesce: false })
const ask = stack(base, ...layers())
const lists = stack(
  async (inputs: number[]) => (inputs.includes(13) ? Promise.reject(new Error('unlucky')) : inputs),
  batcher({ maxDelayMs: 0 }),
)
const blossom = createBlossom({ baseURL: upstream.url }).use(...layers())
const shared = new AbortController()

async function call(round: number, i: number): Promise<void> {
  const kind = KINDS[i % KINDS.length] as string
  const caller = kind === 'hang' ? new AbortController() : shared
  const answer = ask(kind === 'left' ? `stream ${round} ${i}` : `${kind} ${round} ${i}`, {
    signal: caller.signal,
    tenant: `tenant ${round} ${i % 7}`,
  })
  if (kind === 'hang') setImmediate(() => caller.abort(new Error('enough')))
  const value = await answer
  if (typeof value === 'object' && value !== null && Symbol.asyncIterator in value) {
    for await (const _ of value as AsyncIterable<unknown>) if (kind === 'left') break
  }
}

async function overSockets(round: number, i: number): Promise<void> {
  const caller = new AbortController()
  if (i % 4 === 0)
    upstream.fault(
      [{ status: 503 }, { cutAfterChunks: 1 }, { json: 'truncated' }, { hang: true }][
        (i / 4) % 4
      ] as object,
    )
  if (i % 3 === 0) setTimeout(() => caller.abort(new Error('enough')), 2)
  const options = { signal: caller.signal, timeoutMs: 100, maxTokens: 8 }
  if (i % 2 === 0) await blossom.text.generate(`${round} ${i}`, options)
  else
    for await (const _ of await blossom.text.stream(`${round} ${i}`, options))
      if (i % 5 === 0) break
}

const heaps: number[] = []
for (let round = 0; round < ROUNDS; round++) {
  const numbers = Array.from({ length: CALLS }, (_, i) => i)
  await Promise.allSettled(numbers.map((i) => call(round, i)))
  await Promise.allSettled(numbers.slice(0, 100).map((i) => lists([i % 40])))
  await Promise.allSettled(numbers.slice(0, OVER_SOCKETS).map((i) => overSockets(round, i)))
  upstream.reset()
  await new Promise((resolve) => setTimeout(resolve, 5))
  collect()
  await new Promise((resolve) => setImmediate(resolve))
  collect()
  heaps.push(process.memoryUsage().heapUsed)
}
await Promise.all([ask.close(), lists.close(), blossom.close({ timeoutMs: 0 }), upstream.close()])
console.log(JSON.stringify(heaps))
