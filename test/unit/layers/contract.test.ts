import assert from 'node:assert/strict'
import { describe, expect, it } from 'vitest'
import { defineLayer, type Handler, onEnd } from '../../../src/core/index.js'
import { batcher } from '../../../src/layers/batcher/index.js'
import { breaker } from '../../../src/layers/breaker/index.js'
import { cache } from '../../../src/layers/cache/index.js'
import { dedupe } from '../../../src/layers/dedupe/index.js'
import { fallback } from '../../../src/layers/fallback/index.js'
import { hedge } from '../../../src/layers/hedge/index.js'
import { pool } from '../../../src/layers/pool/index.js'
import { queue } from '../../../src/layers/queue/index.js'
import { rateLimit } from '../../../src/layers/rate-limit/index.js'
import { retry } from '../../../src/layers/retry/index.js'
import { timeout } from '../../../src/layers/timeout.js'
import { standard } from '../../../src/standard.js'
import { type LayerContractCase, layerContract } from '../../../src/testing/index.js'
import { Service } from '../../support/shared-service.js'
import { catchWarningsInEachTest } from '../../support/warnings.js'
import { failure } from '../../support/watch.js'

catchWarningsInEachTest()

const run = (cases: readonly LayerContractCase[]) => {
  for (const { name, run } of cases) it(name, run)
}

/** A layer that counts what is under way. */
const counter = () => {
  const stats = { running: 0, begun: 0 }
  return defineLayer({
    name: 'counter',
    wrap: (next) => async (request, context) => {
      stats.begun++
      stats.running++
      const end = () => void stats.running--
      try {
        return onEnd(await next(request, context), end)
      } catch (error) {
        end()
        throw error
      }
    },
    stats: () => ({ ...stats }),
  })
}

describe('layerContract', () => {
  const alone = {
    timeout: () => timeout({ ms: 10_000, firstTokenMs: 5_000, idleMs: 5_000 }),
    retry: () => retry({ retries: 2, minDelayMs: 0 }),
    fallback: () => fallback({ to: [() => 'another answer'] }),
    hedge: () => hedge({ delayMs: 5_000 }),
    'hedge that knows no delay yet': () => hedge(),
    'hedge without a budget': () => hedge({ delayMs: 5_000, budget: false }),
    breaker: () => breaker(),
    'breaker with trials and slow calls': () =>
      breaker({ key: 'model', trials: 3, slowMs: 5_000, resetMs: (openings) => openings * 1_000 }),
    'breaker with other processes': () => breaker({ key: 'model', shared: new Service().join() }),
    queue: () => queue({ concurrency: 3, maxWaitMs: 5_000 }),
    'queue with other processes': () => queue({ concurrency: 3, shared: new Service().join() }),
    'queue with adaptive concurrency': () => queue({ concurrency: { start: 3 } }),
    'queue with a gate for each model': () =>
      queue({ concurrency: 3, gate: 'model', fairness: false }),
    pool: () => pool({ connections: 3 }),
    'pool with several members': () =>
      pool({ connections: 3, members: [{ weight: 1 }, { weight: 2 }] }),
    'pool with gates by model and affinity': () =>
      pool({ connections: 3, members: [{}, {}], gate: 'model', affinity: () => 'conversation' }),
    cache: () => cache(),
    'cache with a store outside': () => cache({ store: new Map() }),
    dedupe: () => dedupe(),
    batcher: () => batcher(),
    rateLimit: () =>
      rateLimit({
        requests: { limit: 1_000, intervalMs: 10, burst: 3 },
        tokens: 1e9,
        cost: { limit: 1e9, per: 'day', price: () => 1 },
        by: 'all',
      }),
    'rateLimit of requests alone': () => rateLimit({ requests: 1e6, mode: 'reject' }),
    'rateLimit with plans': () =>
      rateLimit({ requests: () => 1e6, tokens: () => Number.POSITIVE_INFINITY, by: 'model' }),
  }
  for (const [name, make] of Object.entries(alone)) describe(name, () => run(layerContract(make)))

  describe('batcher, merging', () => {
    const answer = (inputs: number[]) => inputs.map((input) => ({ input, square: input * input }))
    const make = () => batcher({ maxItems: 5, maxDelayMs: 1 })
    run(layerContract<number[]>(make, { request: (n) => [n], answer, streams: false }))
  })

  describe('standard()', () => run(layerContract(standard)))

  describe('standard() with all layers', () =>
    run(
      layerContract(() =>
        standard({
          rateLimit: { requests: 1e6, tokens: 1e9 },
          fallback: { to: [() => 'another answer'], when: () => false },
          hedge: { delayMs: 5_000 },
          queue: { concurrency: 'adaptive' },
          providerLimit: { cost: { limit: 1e9, per: 'day', price: () => 1 } },
        }),
      ),
    ))

  describe('a layer made with defineLayer', () => run(layerContract(counter)))

  describe('a plain next => handler', () =>
    run(
      layerContract(
        () => (next: Handler) => async (request, context) =>
          next(request, context.derive({ priority: context.priority })),
      ),
    ))

  describe.concurrent('around a layer that breaks it', () => {
    type Wrap = (next: Handler<unknown, unknown>) => Handler<unknown, unknown>
    const failing = async (wrap: Wrap, name: string) => {
      const found = layerContract(() => wrap).find((one) => one.name === name)
      return failure(found!.run())
    }

    it('notices an error that is replaced', async () => {
      const replace: Wrap = (next) => async (request, context) => {
        try {
          return await next(request, context)
        } catch {
          throw new Error('something went wrong')
        }
      }
      expect(await failing(replace, 'passes an error through unchanged')).toBeInstanceOf(
        assert.AssertionError,
      )
      expect(
        await failing(replace, 'rejects when the base throws without a promise'),
      ).toBeInstanceOf(assert.AssertionError)
    })

    it('notices an answer that is changed', async () => {
      const change: Wrap = (next) => async (request, context) =>
        (await next(request, context)) ?? {}
      expect(await failing(change, 'passes a value through unchanged')).toBeInstanceOf(
        assert.AssertionError,
      )
    })

    it('notices chunks that are changed, and a source that is not left', async () => {
      const copy: Wrap = (next) => async (request, context) => {
        const answer = (await next(request, context)) as AsyncIterable<unknown>
        return (async function* () {
          const iterator = answer[Symbol.asyncIterator]()
          for (let result = await iterator.next(); !result.done; result = await iterator.next())
            yield String(result.value)
        })()
      }
      const name = 'passes the chunks of a stream through unchanged and in order'
      expect(await failing(copy, name)).toBeInstanceOf(assert.AssertionError)
      expect(
        await failing(copy, 'ends once when the reader stops early, and closes the source'),
      ).toBeInstanceOf(assert.AssertionError)
    })

    it('notices a timer that stays', async () => {
      const timers: NodeJS.Timeout[] = []
      const keep: Wrap = (next) => (request, context) => {
        timers.push(setTimeout(() => {}, 60_000))
        return next(request, context)
      }
      expect(await failing(keep, 'leaves no timer and no listener behind')).toBeInstanceOf(
        assert.AssertionError,
      )
      for (const timer of timers) clearTimeout(timer)
    })

    it('notices a listener that stays', async () => {
      const keep: Wrap = (next) => (request, context) => {
        context.closing.onAbort(() => {})
        return next(request, context)
      }
      expect(await failing(keep, 'leaves no timer and no listener behind')).toBeInstanceOf(
        assert.AssertionError,
      )
    })

    it('notices a context that is cut off from its caller', async () => {
      const cut: Wrap = (next) => async (request, context) => {
        const work = context.detach()
        try {
          return await next(request, work.context)
        } finally {
          work.end()
        }
      }
      expect(await failing(cut, 'passes the context inward unchanged')).toBeInstanceOf(
        assert.AssertionError,
      )
      expect(
        await failing(cut, "passes no later deadline inward than the caller's"),
      ).toBeInstanceOf(assert.AssertionError)
      expect(
        await failing(cut, "passes the caller's abort inward and rejects with the caller's reason"),
      ).toBeInstanceOf(assert.AssertionError)
    })

    it('notices answers that are mixed up', async () => {
      let last: unknown
      const mix: Wrap = (next) => async (request, context) => {
        const answer = await next(request, context)
        const before = last
        last = answer
        return before ?? answer
      }
      expect(await failing(mix, "does not mix concurrent calls' answers")).toBeInstanceOf(
        assert.AssertionError,
      )
    })

    it('notices a call that is still running when it has been answered', async () => {
      const linger: Wrap = (next) => async (request, context) => {
        context.detach()
        return next(request, context)
      }
      expect(await failing(linger, 'ends once when the answer is a value')).toBeInstanceOf(
        assert.AssertionError,
      )
    })
  })
})
