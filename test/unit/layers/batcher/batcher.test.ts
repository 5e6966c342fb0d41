import { AsyncLocalStorage } from 'node:async_hooks'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createBlossom } from '../../../../src/client/index.js'
import {
  type BaseTraits,
  base,
  type CallOptions,
  type Context,
  StackError,
  stack,
  ValidationError,
} from '../../../../src/core/index.js'
import { batcher } from '../../../../src/layers/batcher/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../../src/testing/index.js'
import { gate, never } from '../../../support/gate.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

let warnings: string[]

beforeEach(() => {
  vi.useFakeTimers()
  warnings = catchWarnings()
})

afterEach(() => {
  if (vi.isFakeTimers()) expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const flush = () => vi.advanceTimersByTimeAsync(0)
/** Lets waiting batches go. */
const pass = () => vi.advanceTimersByTimeAsync(5)
const left = () => new Error('the caller has left')
const range = (n: number) => Array.from({ length: n }, (_, i) => i)

/** A function of arrays that writes down what it is asked; `fails` may refuse. */
function squares(fails: (inputs: readonly number[]) => unknown = () => undefined) {
  const asked: number[][] = []
  const contexts: Context[] = []
  const ask = async (inputs: readonly number[], context: Context): Promise<number[]> => {
    asked.push([...inputs])
    contexts.push(context)
    const error = fails(inputs)
    if (error !== undefined) throw error
    return inputs.map((n) => n * n)
  }
  return { ask, asked, contexts }
}

const badRequest = () => new ValidationError('one of the inputs is bad')
const upstreamError = (status: number) =>
  new StackError('upstream failed', { code: 'SERVER', status, retryable: true })

describe('batcher', () => {
  describe('merging', () => {
    it('makes 4 calls of 100 single ones, and splits the answers in order', async () => {
      const { ask, asked } = squares()
      const batched = stack(ask, batcher())
      const calls = Promise.all(range(100).map((n) => batched([n])))
      await pass()
      expect(await calls).toEqual(range(100).map((n) => [n * n]))
      expect(asked.map(({ length }) => length)).toEqual([32, 32, 32, 4])
      expect(asked.flat()).toEqual(range(100))
      expect(batched.stats().batcher).toEqual({ batches: 4, items: 100 })
    })

    it('sends a full batch at once and others after maxDelayMs', async () => {
      const { ask, asked } = squares()
      const batched = stack(ask, batcher({ maxItems: 3, maxDelayMs: 50 }))
      const calls = range(4).map((n) => watch(batched([n])))
      await flush()
      expect(asked).toEqual([[0, 1, 2]])
      expect(calls.map(({ state }) => state)).toEqual([
        'resolved',
        'resolved',
        'resolved',
        'pending',
      ])
      await vi.advanceTimersByTimeAsync(49)
      expect(asked.length).toBe(1)
      await vi.advanceTimersByTimeAsync(1)
      expect(asked).toEqual([[0, 1, 2], [3]])
    })

    it('waits from the first input on, 5 ms unless told otherwise', async () => {
      const { ask, asked } = squares()
      const batched = stack(ask, batcher())
      const first = batched([1])
      await vi.advanceTimersByTimeAsync(3)
      const second = batched([2])
      await vi.advanceTimersByTimeAsync(1)
      expect(asked).toEqual([])
      await vi.advanceTimersByTimeAsync(1)
      expect(asked).toEqual([[1, 2]])
      expect(await Promise.all([first, second])).toEqual([[1], [4]])
    })

    it('takes requests of several inputs, and never more than maxItems in one call', async () => {
      const { ask, asked } = squares()
      const batched = stack(ask, batcher({ maxItems: 5 }))
      const calls = Promise.all([
        batched([1, 2]),
        batched([3, 4]),
        batched([5, 6]),
        batched([7, 8, 9]),
      ])
      await pass()
      expect(await calls).toEqual([
        [1, 4],
        [9, 16],
        [25, 36],
        [49, 64, 81],
      ])
      expect(asked).toEqual([
        [1, 2, 3, 4],
        [5, 6, 7, 8, 9],
      ])
    })

    it('passes by a full request, an empty one, and what is no array', async () => {
      const asked: unknown[] = []
      const batched = stack(
        async (request: unknown) => {
          asked.push(request)
          return request
        },
        batcher({ maxItems: 3 }),
      )
      for (const request of [[1, 2, 3], [], 'text', { input: [1] }])
        expect(await batched(request)).toBe(request)
      expect(asked.length).toBe(4)
      expect(batched.stats().batcher).toEqual({ batches: 1, items: 3 })
    })

    it('passes a lone request on as it is', async () => {
      const request = [1]
      let seen: unknown
      const batched = stack(async (inputs: number[]) => {
        seen = inputs
        return { anything: true }
      }, batcher())
      const call = batched(request)
      await pass()
      expect(await call).toEqual({ anything: true })
      expect(seen).toBe(request)
    })

    it('works for any function of arrays, with its types', async () => {
      const lengths = stack(
        async (words: readonly string[]): Promise<number[]> => words.map(({ length }) => length),
        batcher(),
      )
      const call = lengths(['four', 'to'])
      await pass()
      const [four, to]: (number | undefined)[] = await call
      expect([four, to]).toEqual([4, 2])
    })

    it('merges only what has the same tenant, cache mode and group', async () => {
      const { ask, asked } = squares()
      const grouped = base(ask, {
        split: (inputs) => ({ group: inputs[0]! >= 100 ? 'large' : 'small', size: inputs.length }),
      })
      const batched = stack(grouped, batcher())
      const call = (n: number, options?: CallOptions) => batched([n], options)
      const calls = [
        call(1),
        call(2, { tenant: 'a' }),
        call(3, { tenant: 'b' }),
        call(4, { cache: 'no-store' }),
        call(100),
        call(5),
        call(6, { tenant: 'a' }),
        call(7, { cache: 'no-store' }),
        call(101),
      ]
      await pass()
      await Promise.all(calls)
      expect(asked).toEqual([[1, 5], [2, 6], [3], [4, 7], [100, 101]])
    })

    it('keeps stacks that share it apart', async () => {
      const [one, two] = [squares(), squares()]
      const shared = batcher()
      const [first, second] = [stack(one.ask, shared), stack(two.ask, shared)]
      const calls = Promise.all([first([1]), second([2]), first([3])])
      await pass()
      await calls
      expect([one.asked, two.asked]).toEqual([[[1, 3]], [[2]]])
      expect(first.stats().batcher).toEqual({ batches: 2, items: 3 })
    })

    it('does not merge streams', async () => {
      const asked: unknown[] = []
      const traits: BaseTraits<number[], unknown> = { streams: () => true }
      const batched = stack(
        base(async (inputs: number[]): Promise<unknown> => void asked.push(inputs), traits),
        batcher(),
      )
      await Promise.all([batched([1]), batched([2])])
      expect(asked).toEqual([[1], [2]])
    })

    it('gives each request its own part, for any sizes and pauses', async () => {
      const calls = fc.array(
        fc.record({ size: fc.integer({ min: 1, max: 12 }), pause: fc.integer({ min: 0, max: 6 }) }),
        { maxLength: 20 },
      )
      await fc.assert(
        fc.asyncProperty(calls, fc.integer({ min: 1, max: 10 }), async (list, maxItems) => {
          const { ask, asked } = squares()
          const batched = stack(ask, batcher({ maxItems }))
          let n = 0
          const answers: Promise<number[]>[] = []
          const requests: number[][] = []
          for (const { size, pause } of list) {
            const request = range(size).map(() => n++)
            requests.push(request)
            answers.push(batched(request))
            await vi.advanceTimersByTimeAsync(pause)
          }
          await pass()
          expect(await Promise.all(answers)).toEqual(
            requests.map((request) => request.map((i) => i * i)),
          )
          expect(asked.flat().toSorted((a, b) => a - b)).toEqual(range(n))
          const most = Math.max(maxItems, ...list.map(({ size }) => size))
          for (const { length } of asked) expect(length).toBeLessThanOrEqual(most)
        }),
      )
    })
  })

  describe('failures', () => {
    it.each([
      ['a refusal', badRequest],
      ['a foreign error', () => new Error('cannot take this')],
    ])('lets one bad input fail alone with %s', async (_, refuse) => {
      for (const bad of [0, 13, 31]) {
        const { ask, asked } = squares((inputs) => (inputs.includes(bad) ? refuse() : undefined))
        const batched = stack(ask, batcher())
        const calls = Promise.allSettled(range(32).map((n) => batched([n])))
        await pass()
        const outcomes = await calls
        expect(outcomes.filter(({ status }) => status === 'rejected').length).toBe(1)
        expect(outcomes[bad]).toMatchObject({ status: 'rejected', reason: refuse() })
        for (const [n, outcome] of outcomes.entries())
          if (n !== bad) expect(outcome).toMatchObject({ value: [n * n] })
        // Halving: two calls at each of five levels, and the first.
        expect(asked.length).toBeLessThanOrEqual(11)
      }
    })

    it('finds several bad inputs that are refused', async () => {
      const bad = [3, 4, 20]
      const { ask } = squares((inputs) =>
        bad.some((n) => inputs.includes(n)) ? badRequest() : undefined,
      )
      const batched = stack(ask, batcher())
      const calls = Promise.allSettled(range(32).map((n) => batched([n])))
      await pass()
      const failed = (await calls).flatMap(({ status }, n) => (status === 'rejected' ? [n] : []))
      expect(failed).toEqual(bad)
    })

    it('makes few calls of an outage that shows in foreign errors', async () => {
      const error = new Error('everything is down')
      const { ask, asked } = squares(() => error)
      const batched = stack(ask, batcher())
      const calls = range(32).map((n) => failure(batched([n])))
      await pass()
      expect(new Set(await Promise.all(calls))).toEqual(new Set([error]))
      expect(asked.length).toBeLessThanOrEqual(7)
    })

    it.each([
      ['a 5xx', upstreamError(503)],
      ['a time-out', new StackError('too slow', { code: 'TIMEOUT', status: 504 })],
      ['a refused key', new StackError('no', { code: 'AUTH', status: 401 })],
    ])('fails all with %s, after one call', async (_, error) => {
      const { ask, asked } = squares(() => error)
      const batched = stack(ask, batcher())
      const calls = range(10).map((n) => failure(batched([n])))
      await pass()
      expect(new Set(await Promise.all(calls))).toEqual(new Set([error]))
      expect(asked.length).toBe(1)
    })

    it('lets a retry inside repeat the whole batch', async () => {
      let failures = 1
      const { ask, asked } = squares(() => (failures-- > 0 ? upstreamError(503) : undefined))
      const batched = stack(ask, batcher(), retry({ minDelayMs: 0 }))
      const calls = Promise.all([batched([1]), batched([2])])
      await vi.advanceTimersByTimeAsync(10)
      expect(await calls).toEqual([[1], [4]])
      expect(asked).toEqual([
        [1, 2],
        [1, 2],
      ])
    })

    it.each<[string, unknown]>([
      ['too short', [1]],
      ['too long', [1, 2, 3, 4]],
      ['no array', { data: [] }],
      ['nothing', undefined],
    ])('fails all when the answer is %s, after one call', async (_, answer) => {
      const asked: unknown[] = []
      const batched = stack(async (inputs: number[]): Promise<unknown> => {
        asked.push(inputs)
        return answer
      }, batcher())
      const calls = range(3).map((n) => failure(batched([n])))
      await pass()
      for (const error of await Promise.all(calls)) {
        expect(error).toBeInstanceOf(TypeError)
        expect(error).toMatchObject({
          message: 'A batched function must answer with an array, one item for each input.',
        })
      }
      expect(asked).toEqual([[0, 1, 2]])
    })

    it('passes by when split() throws, with a warning, and asks one by one when merge() does', async () => {
      const { ask, asked } = squares()
      const mishap = () => {
        throw named('SplitMishap')
      }
      const unsplit = stack(base(ask, { split: mishap }), batcher())
      expect(await Promise.all([unsplit([1]), unsplit([2])])).toEqual([[1], [4]])
      expect(warnings).toEqual(['batcher: split() threw SplitMishap; the call went on.'])
      const unmerged = stack(base(ask, { merge: mishap }), batcher())
      const calls = Promise.all([unmerged([3]), unmerged([4])])
      await pass()
      expect(await calls).toEqual([[9], [16]])
      expect(asked).toEqual([[1], [2], [3], [4]])
    })
  })

  describe('leaving', () => {
    it('leaves out who left before the batch began', async () => {
      const { ask, asked } = squares()
      const batched = stack(ask, batcher())
      const caller = new AbortController()
      const gone = failure(batched([1], { signal: caller.signal }))
      const stays = batched([2])
      caller.abort(left())
      expect(await gone).toBe(caller.signal.reason)
      await pass()
      expect(await stays).toEqual([4])
      expect(asked).toEqual([[2]])
    })

    it('does not begin a batch that everybody left, nor lets that touch who comes next', async () => {
      const { ask, asked } = squares()
      const batched = stack(ask, batcher())
      const caller = new AbortController()
      const gone = failure(batched([1], { signal: caller.signal }))
      caller.abort(left())
      await gone
      expect(vi.getTimerCount()).toBe(0)
      const next = batched([2])
      await pass()
      expect(await next).toEqual([4])
      expect(asked).toEqual([[2]])
      await batched.close()
    })

    it('makes room for others when somebody leaves', async () => {
      const { ask, asked } = squares()
      const batched = stack(ask, batcher({ maxItems: 4 }))
      const caller = new AbortController()
      const stays = batched([1, 2])
      const gone = failure(batched([3], { signal: caller.signal }))
      caller.abort(left())
      await gone
      expect(await Promise.all([stays, batched([4, 5])])).toEqual([
        [1, 4],
        [16, 25],
      ])
      expect(asked).toEqual([[1, 2, 4, 5]])
    })

    it('lets one leave a running batch without failing the others', async () => {
      const answer = gate()
      const batched = stack(async (inputs: number[]) => {
        await answer.promise
        return inputs
      }, batcher())
      const caller = new AbortController()
      const gone = failure(batched([1], { signal: caller.signal }))
      const stays = batched([2])
      await pass()
      caller.abort(left())
      expect(await gone).toBe(caller.signal.reason)
      answer.open()
      expect(await stays).toEqual([2])
    })

    it('aborts the work when the last has left', async () => {
      const contexts: Context[] = []
      const batched = stack((_: number[], context: Context) => {
        contexts.push(context)
        return never<number[]>()
      }, batcher())
      const callers = [new AbortController(), new AbortController()]
      const calls = callers.map(({ signal }, n) => failure(batched([n], { signal })))
      await pass()
      callers[0]!.abort(left())
      expect(contexts[0]!.signal.aborted).toBe(false)
      callers[1]!.abort(left())
      expect(contexts[0]!.signal.reason).toBe(callers[1]!.signal.reason)
      await Promise.all(calls)
    })

    it('aborts the rest of a search when those without an answer have left, and asks for nobody who has left', async () => {
      const second = gate()
      const contexts: Context[] = []
      const asked: number[][] = []
      const batched = stack(async (inputs: number[], context: Context) => {
        asked.push(inputs)
        contexts.push(context)
        if (inputs.includes(3)) {
          if (inputs.length < 4) await second.promise
          throw badRequest()
        }
        return inputs
      }, batcher())
      const callers = range(4).map(() => new AbortController())
      const calls = callers.map(({ signal }, n) => watch(batched([n], { signal })))
      await pass()
      expect(calls.map(({ state }) => state)).toEqual([
        'resolved',
        'resolved',
        'pending',
        'pending',
      ])
      callers[2]!.abort(left())
      expect(contexts.at(-1)!.signal.aborted).toBe(false)
      callers[3]!.abort(left())
      expect(contexts.at(-1)!.signal.aborted).toBe(true)
      second.open()
      await flush()
      expect(asked).toEqual([
        [0, 1, 2, 3],
        [0, 1],
        [2, 3],
      ])
      await batched.close()
    })

    it('asks for the other half at once when everybody in the first has left', async () => {
      const contexts: Context[] = []
      const batched = stack(async (inputs: number[], context: Context) => {
        contexts.push(context)
        if (inputs.length === 4) throw new Error('the function failed')
        if (!inputs.includes(0)) return inputs
        return new Promise<number[]>((_, reject) =>
          context.signal.addEventListener('abort', () => reject(context.signal.reason)),
        )
      }, batcher())
      const callers = range(4).map(() => new AbortController())
      const calls = callers.map(({ signal }, n) => watch(batched([n], { signal })))
      await pass()
      callers[0]!.abort(left())
      expect(contexts[1]!.signal.aborted).toBe(false)
      callers[1]!.abort(left())
      expect(contexts[1]!.signal.reason).toBe(callers[1]!.signal.reason)
      await flush()
      expect(calls.map(({ state }) => state)).toEqual([
        'rejected',
        'rejected',
        'resolved',
        'resolved',
      ])
      await batched.close()
    })

    it('does not abort work that has been answered', async () => {
      const { ask, contexts } = squares()
      const batched = stack(ask, batcher())
      const calls = Promise.all([batched([1]), batched([2])])
      await pass()
      await calls
      expect(contexts[0]!.signal.aborted).toBe(false)
    })

    it('counts each of two requests that one caller makes within one call', async () => {
      const { ask, asked } = squares((inputs) => (inputs.length > 1 ? badRequest() : undefined))
      const batched = stack(
        ask,
        (next) => async (inputs, context) =>
          (await Promise.all(inputs.map((n) => next([n], context)))).flat(),
        batcher(),
      )
      const call = batched([1, 2, 3])
      await pass()
      expect(await call).toEqual([1, 4, 9])
      expect(asked.length).toBe(5)
    })
  })

  describe('context', () => {
    it('has the latest deadline of those who wait for it', async () => {
      const deadlines: number[] = []
      const batched = stack(async (inputs: number[], { deadline }: Context) => {
        deadlines.push(deadline)
        return inputs
      }, batcher())
      const start = performance.now()
      const calls = Promise.all([
        batched([1], { timeoutMs: 100 }),
        batched([2], { timeoutMs: 300 }),
        batched([3], { timeoutMs: 200 }),
      ])
      await pass()
      await calls
      expect(deadlines).toEqual([start + 300])
    })

    it('copies the notes made inside to every caller', async () => {
      const batched = stack(async (inputs: number[], { meta }: Context) => {
        meta.set('size', inputs.length)
        return inputs
      }, batcher())
      const metas = [new Map<string, unknown>(), new Map<string, unknown>()]
      const calls = Promise.all(metas.map((meta, n) => batched([n], { meta })))
      await pass()
      await calls
      expect(metas.map((meta) => meta.get('size'))).toEqual([2, 2])
    })

    it("keeps each caller's own async context", async () => {
      const storage = new AsyncLocalStorage<number>()
      const { ask } = squares()
      const batched = stack(ask, batcher())
      const after = [1, 2].map((n) =>
        storage.run(n, async () => {
          await batched([n])
          return storage.getStore()
        }),
      )
      await pass()
      expect(await Promise.all(after)).toEqual([1, 2])
    })

    it.each([
      ['its time is over', 3],
      ['another caller fills it', 2],
    ])("runs in its first caller's async context when %s", async (_, maxItems) => {
      const storage = new AsyncLocalStorage<string>()
      const seen: unknown[] = []
      const batched = stack(async (inputs: number[]) => {
        seen.push(storage.getStore())
        return inputs
      }, batcher({ maxItems }))
      const calls = ['first', 'second'].map((name) => storage.run(name, () => batched([1])))
      await pass()
      await Promise.all(calls)
      expect(seen).toEqual(['first'])
    })
  })

  describe('closing', () => {
    it('sends waiting batches at once', async () => {
      const { ask, asked } = squares()
      const batched = stack(ask, batcher({ maxDelayMs: 60_000 }))
      const calls = Promise.all([batched([1]), batched([2], { tenant: 'a' })])
      await batched.close()
      expect(await calls).toEqual([[1], [4]])
      expect(asked).toEqual([[1], [2]])
    })

    it('sends those of the closing stack only, when another uses the layer, too', async () => {
      const [one, two] = [squares(), squares()]
      const shared = batcher({ maxDelayMs: 60_000 })
      const [first, second] = [stack(one.ask, shared), stack(two.ask, shared)]
      const calls = [first([1]), second([2])] as const
      await first.close()
      expect(await calls[0]).toEqual([1])
      expect(two.asked).toEqual([])
      await second.close()
      expect(await calls[1]).toEqual([4])
    })

    it('does not wait for company once the stack is closing', async () => {
      const { ask, asked } = squares()
      const enter = gate()
      const batched = stack(
        ask,
        (next) => async (inputs, context) => {
          await enter.promise
          return next(inputs, context)
        },
        batcher({ maxDelayMs: 60_000 }),
      )
      const call = batched([1])
      const closed = batched.close()
      enter.open()
      expect(await call).toEqual([1])
      await closed
      expect(asked).toEqual([[1]])
    })

    it('ends a batch that outlasts the closing', async () => {
      const batched = stack((_: number[]) => never<number[]>(), batcher())
      const calls = [failure(batched([1])), failure(batched([2]))]
      await pass()
      const closed = batched.close({ timeoutMs: 100 })
      await vi.advanceTimersByTimeAsync(100)
      for (const error of await Promise.all(calls)) expect(error).toMatchObject({ code: 'CLOSED' })
      await vi.advanceTimersByTimeAsync(1_000)
      await closed
    })
  })

  it.each([
    { maxItems: 0 },
    { maxItems: 1.5 },
    { maxDelayMs: -1 },
    { maxDelayMs: '5' },
    { size: 3 },
  ])('refuses the options %j', (options) => {
    expect(() => batcher(options as never)).toThrow(
      expect.objectContaining({ code: 'CONFIG', layer: 'batcher' }),
    )
  })

  describe("around the client's embeddings", () => {
    let upstream: LocalBlossom

    beforeEach(async () => {
      vi.useRealTimers()
      upstream = await startLocalBlossom({ coalesce: false })
    })

    afterEach(() => upstream.close())

    const connect = () => createBlossom({ baseURL: upstream.url, apiKey: 'sk_test' }).use(batcher())
    const plain = () => createBlossom({ baseURL: upstream.url, apiKey: 'sk_test' })

    it('makes 4 requests of 100 calls, with the same vectors as one by one', async () => {
      await using blossom = connect()
      await using single = plain()
      const words = range(100).map((n) => `word ${n}`)
      const results = await Promise.all(words.map((word) => blossom.embeddings.create(word)))
      expect(upstream.requests.length).toBe(4)
      for (const n of [0, 31, 32, 99]) {
        expect(results[n]!.embeddings).toEqual(
          (await single.embeddings.create(words[n]!)).embeddings,
        )
      }
    })

    it('shares the usage of a merged request by length', async () => {
      await using blossom = connect()
      await using single = plain()
      const texts = ['one two three four five six', 'seven', 'eight nine ten']
      const results = await Promise.all(texts.map((text) => blossom.embeddings.create(text)))
      expect(upstream.requests.length).toBe(1)
      const tokens = results.map(({ usage }) => usage!.promptTokens)
      const whole = (await single.embeddings.create(texts)).usage!
      expect(
        Math.abs(tokens.reduce((sum, n) => sum + n, 0) - whole.promptTokens),
      ).toBeLessThanOrEqual(2)
      expect(tokens[0]).toBeGreaterThan(tokens[2]!)
      expect(tokens[2]).toBeGreaterThan(tokens[1]!)
    })

    it('merges lists and single texts, but neither other models, nor other sizes, nor other calls', async () => {
      await using blossom = connect()
      const results = await Promise.all([
        blossom.embeddings.create('a'),
        blossom.embeddings.create(['b', 'c']),
        blossom.embeddings.create('d', { dimensions: 4 }),
        blossom.embeddings.create('e', { tenant: 'other' }),
        blossom.text.generate('f'),
      ])
      expect(upstream.requests.length).toBe(4)
      expect(
        results.slice(0, 4).map((result) => 'embeddings' in result && result.embeddings.length),
      ).toEqual([1, 2, 1, 1])
      expect('embeddings' in results[2]! && results[2].embeddings[0]!.length).toBe(4)
      expect(blossom.stats().batcher).toEqual({ batches: 3, items: 5 })
    })

    it('lets the one input that upstream refuses fail alone', async () => {
      await using blossom = connect()
      const isBad = (body: unknown) => JSON.stringify(body).includes('poison')
      upstream.fault({
        status: 400,
        times: Number.POSITIVE_INFINITY,
        match: ({ body }) => isBad(body),
      })
      const outcomes = await Promise.allSettled(
        ['a', 'b', 'poison', 'd'].map((word) => blossom.embeddings.create(word)),
      )
      expect(outcomes.map(({ status }) => status)).toEqual([
        'fulfilled',
        'fulfilled',
        'rejected',
        'fulfilled',
      ])
      expect(outcomes[2]).toMatchObject({ reason: { code: 'BAD_REQUEST' } })
    })

    it('fails all with a 503 after one request', async () => {
      await using blossom = connect()
      upstream.fail(503, 10)
      const outcomes = await Promise.allSettled(
        ['a', 'b', 'c'].map((word) => blossom.embeddings.create(word)),
      )
      expect(
        outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason.code),
      ).toEqual(['SERVER', 'SERVER', 'SERVER'])
      expect(upstream.requests.length).toBe(1)
    })
  })
})
