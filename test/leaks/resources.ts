/**
 * Closes a client in the middle of everything, and prints what each time is left of it: active
 * resources of the process beyond those that were there before, calls that never settled, requests
 * that upstream still answers.
 */
import { type Blossom, createBlossom } from '../../src/client/index.js'
import { isStackError } from '../../src/core/index.js'
import { batcher } from '../../src/layers/batcher/index.js'
import { breaker } from '../../src/layers/breaker/index.js'
import { cache } from '../../src/layers/cache/index.js'
import { dedupe } from '../../src/layers/dedupe/index.js'
import { pool } from '../../src/layers/pool/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { retry } from '../../src/layers/retry/index.js'
import { timeout } from '../../src/layers/timeout.js'
import { standard } from '../../src/standard.js'
import { type Fault, type LocalBlossom, startLocalBlossom } from '../../src/testing/index.js'

type Client = Pick<Blossom, 'text' | 'embeddings' | 'close'>
interface Situation {
  readonly client: (baseURL: string) => Client
  /** Starts calls, and resolves when the moment to close has come. The calls may go on. */
  readonly begin: (client: Client, upstream: LocalBlossom) => Promise<Promise<unknown>[]>
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const plain = (baseURL: string) => createBlossom({ baseURL })
const read = async (stream: Promise<AsyncIterable<unknown>>) => {
  for await (const _ of await stream);
}
const faulted =
  (...faults: Fault[]) =>
  async (client: Client, upstream: LocalBlossom) => {
    upstream.faults.push(...faults)
    const calls = faults.map((_, i) =>
      i % 2 === 0 ? client.text.generate(`${i}`) : read(client.text.stream(`${i}`)),
    )
    await Promise.allSettled(calls)
    return calls
  }

const SITUATIONS: Record<string, Situation> = {
  'after faults': {
    client: plain,
    begin: faulted(
      { status: 503 },
      { cutAfterChunks: 1 },
      { json: 'truncated' },
      { endAfterChunks: 1 },
      { resetBeforeHeaders: true },
      { errorAfterChunks: 1 },
      { gzip: 'truncated' },
      { openAfterDone: true },
      { raw: 'nonsense\r\n\r\n' },
      { garbageAfterChunks: 1 },
    ),
  },
  'after time-outs': {
    client: (baseURL) => createBlossom({ baseURL }).use(timeout({ ms: 40, idleMs: 20 })),
    begin: faulted(
      { hang: true },
      { stallAfterChunks: 1 },
      { delayMs: 10_000 },
      { stallAfterChunks: -1, heartbeatMs: 5 },
    ),
  },
  'after aborts': {
    client: (baseURL) => createBlossom({ baseURL }).use(...standard()),
    async begin(client, upstream) {
      upstream.faults.push({ hang: true, times: 3 }, { stallAfterChunks: 1, times: 2 })
      const caller = new AbortController()
      const options = { signal: caller.signal }
      const calls = [1, 2, 3].map((i) => client.text.generate(`${i}`, options) as Promise<unknown>)
      await upstream.waitFor(({ active }) => active === 3)
      calls.push(read(client.text.stream('4', options)), read(client.text.stream('5', options)))
      await upstream.waitFor(
        ({ requests }) => requests.filter(({ chunksSent }) => chunksSent > 0).length === 2,
      )
      caller.abort(new Error('enough'))
      await Promise.allSettled(calls)
      return calls
    },
  },
  'calls in the queue, in the pool and upstream': {
    client: (baseURL) =>
      createBlossom({ baseURL }).use(queue({ concurrency: 3 }), pool({ connections: 2 })),
    async begin(client, upstream) {
      upstream.fault({ hang: true, times: 10 })
      const calls = Array.from({ length: 6 }, (_, i) => client.text.generate(`${i}`))
      await upstream.waitFor(({ active }) => active === 2)
      return calls
    },
  },
  'a call in back-off': {
    client: (baseURL) =>
      createBlossom({ baseURL }).use(
        timeout({ ms: 60_000 }),
        retry({ minDelayMs: 30_000, maxDelayMs: 30_000, random: () => 0.9 }),
      ),
    async begin(client, upstream) {
      upstream.fail(503)
      const calls = [client.text.generate('once')]
      await upstream.waitFor(({ requests: [first] }) => first?.endedAt !== undefined)
      await new Promise((resolve) => setTimeout(resolve, 20))
      return calls
    },
  },
  'streams being read, not read, and stalled': {
    client: (baseURL) =>
      createBlossom({ baseURL }).use(dedupe(), timeout({ ms: 60_000, idleMs: 30_000 })),
    async begin(client, upstream) {
      upstream.faults.push(
        { stallAfterChunks: 1 },
        { stallAfterChunks: 1, heartbeatMs: 5 },
        { stallAfterChunks: -1 },
      )
      const calls: Promise<unknown>[] = [
        read(client.text.stream('read')),
        client.text.stream('not read'),
        read(client.text.stream('stalled')),
      ]
      await upstream.waitFor(
        ({ requests }) =>
          requests.length === 3 && requests.filter(({ chunksSent }) => chunksSent > 0).length >= 2,
      )
      return calls
    },
  },
  'a trial of a half-open breaker': {
    client: (baseURL) => createBlossom({ baseURL }).use(breaker({ minimumCalls: 1, resetMs: 10 })),
    async begin(client, upstream) {
      upstream.faults.push({ status: 503 }, { hang: true })
      const calls: Promise<unknown>[] = [client.text.generate('fails')]
      await Promise.allSettled(calls)
      await new Promise((resolve) => setTimeout(resolve, 30))
      calls.push(client.text.generate('trial'))
      await upstream.waitFor(({ active, requests }) => active === 1 && requests.length === 2)
      return calls
    },
  },
  'a breaker that stays open': {
    client: (baseURL) => createBlossom({ baseURL }).use(breaker({ minimumCalls: 1 })),
    begin: faulted({ status: 503 }),
  },
  'a renewal behind a stale hit': {
    client: (baseURL) => createBlossom({ baseURL }).use(cache({ ttlMs: 1, staleMs: 60_000 })),
    async begin(client, upstream) {
      await client.text.generate('kept')
      upstream.fault({ hang: true })
      await new Promise((resolve) => setTimeout(resolve, 20))
      const calls = [client.text.generate('kept')]
      await Promise.all(calls)
      await upstream.waitFor(({ active }) => active === 1)
      return calls
    },
  },
  'a batch that fills': {
    client: (baseURL) => createBlossom({ baseURL }).use(batcher({ maxDelayMs: 30_000 })),
    async begin(client) {
      const calls = [client.embeddings.create('one'), client.embeddings.create('two')]
      await turn()
      return calls
    },
  },
}

/** Active resources of this process, beyond `before`. Immediates are how it waits here. */
function extra(before: readonly string[]): string[] {
  const left = process.getActiveResourcesInfo().filter((name) => name !== 'Immediate')
  for (const name of before) {
    const at = left.indexOf(name)
    if (at >= 0) left.splice(at, 1)
  }
  return left
}

const CLOSE_MS = 50
const PATIENCE_MS = 10_000

const report: Record<string, object> = {}
for (const [name, { client: make, begin }] of Object.entries(SITUATIONS)) {
  const upstream = await startLocalBlossom({ coalesce: false })
  const before = process.getActiveResourcesInfo().filter((name) => name !== 'Immediate')
  const client = make(upstream.url)
  const calls = await begin(client, upstream)
  let open = calls.length
  const codes = new Set<string>()
  for (const call of calls) {
    call.then(
      () => open--,
      (error) => {
        open--
        codes.add(isStackError(error) ? error.code : String(error))
      },
    )
  }
  await client.close({ timeoutMs: CLOSE_MS })
  const until = performance.now() + PATIENCE_MS
  while ((extra(before).length > 0 || upstream.active > 0 || open > 0) && performance.now() < until)
    await turn()
  report[name] = {
    resources: extra(before),
    active: upstream.active,
    open,
    codes: [...codes].sort(),
  }
  await upstream.close()
}
console.log(JSON.stringify(report))
