import { isDeepStrictEqual } from 'node:util'
import { expect } from 'vitest'
import { type CallOptions, type Context, type LayerOf, stack } from '../../src/core/index.js'
import { batcher } from '../../src/layers/batcher/index.js'
import { breaker } from '../../src/layers/breaker/index.js'
import { cache } from '../../src/layers/cache/index.js'
import { dedupe } from '../../src/layers/dedupe/index.js'
import { fallback } from '../../src/layers/fallback/index.js'
import { hedge } from '../../src/layers/hedge/index.js'
import { pool } from '../../src/layers/pool/index.js'
import { queue } from '../../src/layers/queue/index.js'
import { rateLimit } from '../../src/layers/rate-limit/index.js'
import { retry } from '../../src/layers/retry/index.js'
import { timeout } from '../../src/layers/timeout.js'
import { gate } from './gate.js'
import { numbers } from './streams.js'
import { failure } from './watch.js'

export const FAILED = new Error('the base failed on purpose')

type Layers = readonly LayerOf<string, unknown>[]

/** The layers with one slot wherever there are slots, in the recommended order. */
export const SEVEN = {
  cache: (name?: string) => cache({ name, maxEntries: 10 }),
  dedupe: (name?: string) => dedupe({ name }),
  timeout: (name?: string) => timeout({ ms: 20_000, name }),
  retry: (name?: string) => retry({ retries: 2, minDelayMs: 0, name }),
  breaker: (name?: string) => breaker({ name }),
  queue: (name?: string) => queue({ concurrency: 1, name }),
  pool: (name?: string) => pool({ connections: 1, name }),
}

/** Layers that bring in somebody else: they change nothing while nobody is needed. */
export const OTHERS = {
  fallback: (name?: string) => fallback({ to: [() => 'instead'], when: () => false, name }),
  hedge: (name?: string) => hedge({ delayMs: 20_000, name }),
}

/** All of them, with limits that have calls wait for a moment. */
export const ALL = {
  ...SEVEN,
  ...OTHERS,
  rateLimit: (name?: string) =>
    rateLimit({
      requests: { limit: 1_000, intervalMs: 1_000, burst: 2 },
      tokens: 1e6,
      cost: { limit: 1e6, per: 'day', price: () => 1 },
      by: 'all',
      name,
    }),
  providerLimit: (name = 'providerLimit') =>
    rateLimit({ requests: { limit: 1_000, intervalMs: 1_000, burst: 2 }, by: 'all', name }),
  attempt: (name = 'attempt') => timeout({ ms: 20_000, firstTokenMs: 20_000, name }),
  batcher: (name?: string) => batcher({ maxDelayMs: 1, name }),
}
export type Kind = keyof typeof ALL

/** A layer of each kind. */
export const layersOf = (kinds: readonly Kind[], of: typeof ALL = ALL): Layers =>
  kinds.map((kind) => of[kind]() as LayerOf<string, unknown>)

interface Ask {
  (request: string, options?: CallOptions): Promise<unknown>
  stats(): Record<
    string,
    {
      running?: number
      active?: number
      waiting?: number
      inFlight?: number
      admitted?: number
      settled?: number
    }
  >
  close(): Promise<void>
}

/** A base that counts its calls by request, and does what the request says. */
function countingBase() {
  const counts: Record<string, number> = {}
  const waits = gate()
  const ask = async (request: string, { signal }: Context): Promise<unknown> => {
    const count = (counts[request] ?? 0) + 1
    counts[request] = count
    if (request === 'fails once' && count === 1) throw FAILED
    if (request.startsWith('stream')) return numbers(3)
    if (request === 'waits') {
      waits.open()
      return new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason)),
      )
    }
    await null
    return `${request}: done`
  }
  return { ask, counts, waits: waits.promise }
}

/** A stack of these layers. */
export const around = (
  base: (request: string, context: Context) => Promise<unknown>,
  layers: Layers,
): Ask => stack(base, ...layers) as unknown as Ask

/** Gives a stack of one slot five calls at once, and says what is not as it should be. */
export async function trial(kinds: readonly Kind[], layers = layersOf(kinds)) {
  const { ask: base, counts, waits } = countingBase()
  const ask = around(base, layers)
  const caller = new AbortController()
  const reason = new Error('the caller has left')
  const read = async (request: string, limit: number) => {
    const chunks: unknown[] = []
    for await (const chunk of (await ask(request)) as AsyncIterable<unknown>) {
      chunks.push(chunk)
      if (chunks.length === limit) break
    }
    return chunks.join()
  }
  const abort = async () => {
    const failed = failure(ask('waits', { signal: caller.signal }))
    await waits
    caller.abort(reason)
    return (await failed) === reason
  }
  const answers = await Promise.all([
    ask('ok'),
    ask('fails once').catch((error: unknown) => error),
    abort(),
    read('stream read', Number.POSITIVE_INFINITY),
    read('stream left', 1),
  ])
  const again = [await ask('ok'), await read('stream read', Number.POSITIVE_INFINITY)]
  await ask.close()
  const repeats = kinds.includes('retry')
  const cached = kinds.includes('cache')
  const expected = {
    answers: ['ok: done', repeats ? 'fails once: done' : FAILED, true, '0,1,2', '0'],
    again: ['ok: done', '0,1,2'],
    counts: {
      ok: cached ? 1 : 2,
      'fails once': repeats ? 2 : 1,
      waits: 1,
      'stream read': cached ? 1 : 2,
      'stream left': 1,
    },
    held: 0,
  }
  return { got: { answers, again, counts, held: heldBy(ask) }, expected }
}

/** What a stack at rest still holds: slots, places, shared calls and reservations. */
export const heldBy = (ask: Ask): number =>
  Object.values(ask.stats()).reduce((sum, stats) => {
    const { running = 0, active = 0, waiting = 0, inFlight = 0, admitted = 0, settled } = stats
    return (
      sum + running + active + waiting + inFlight + (settled === undefined ? 0 : admitted - settled)
    )
  }, 0)

/** What came of a stack, and what was to come of it. */
interface Tried {
  readonly got: unknown
  readonly expected: unknown
}

/**
 * Tries many orders, some at a time, and fails with the first that is not as it should be.
 */
export async function tryAll(
  orders: readonly (readonly Kind[])[],
  attempt: (order: readonly Kind[]) => Promise<Tried> = trial,
) {
  for (let i = 0; i < orders.length; i += 250) {
    await Promise.all(
      orders.slice(i, i + 250).map(async (order) => {
        const { got, expected } = await attempt(order)
        // Thousands of times: `expect` only when it has something to show.
        if (!isDeepStrictEqual(got, expected)) expect(got, order.join(' → ')).toEqual(expected)
      }),
    )
  }
}

/** All orders of so many of the items; of all by default. */
export function permutations<T>(items: readonly T[], count = items.length): T[][] {
  if (count === 0) return [[]]
  return items.flatMap((item, i) =>
    permutations(items.toSpliced(i, 1), count - 1).map((rest) => [item, ...rest]),
  )
}
