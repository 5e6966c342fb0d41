import { AsyncLocalStorage } from 'node:async_hooks'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { base, type CallOptions, type Context, stack } from '../../../../src/core/index.js'
import { batcher } from '../../../../src/layers/batcher/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never } from '../../../support/gate.js'
import { pass, range, squares } from '../../../support/squares.js'
import { failure, states, watch } from '../../../support/watch.js'

useFakeTimers()

describe('batcher', () => {
  describe('merging', () => {
    it('merges 100 single calls into 4, and splits the answers in order', async () => {
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
      await tick()
      expect(asked).toEqual([[0, 1, 2]])
      expect(states(calls)).toBe('resolved resolved resolved pending')
      await tick(49)
      expect(asked.length).toBe(1)
      await tick(1)
      expect(asked).toEqual([[0, 1, 2], [3]])
    })

    it('waits from the first input on, for 5 ms by default', async () => {
      const { ask, asked } = squares()
      const batched = stack(ask, batcher())
      const first = batched([1])
      await tick(3)
      const second = batched([2])
      await tick(1)
      expect(asked).toEqual([])
      await tick(1)
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

    it('does not batch a full request, an empty one, or one that is not an array', async () => {
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

    it('merges only requests with the same tenant, cache mode and group', async () => {
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

    it('keeps apart the stacks that share it', async () => {
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
      const batched = stack(
        base(async (inputs: number[]): Promise<unknown> => void asked.push(inputs), {
          streams: () => true,
        }),
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
            await tick(pause)
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

  describe('context', () => {
    it('has the latest deadline of the callers waiting for it', async () => {
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

    it('sends only those of the closing stack when another stack uses the layer too', async () => {
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

    it('does not wait for more requests once the stack is closing', async () => {
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

    it('aborts a batch that outlasts the closing', async () => {
      const batched = stack((_: number[]) => never<number[]>(), batcher())
      const calls = [failure(batched([1])), failure(batched([2]))]
      await pass()
      const closed = batched.close({ timeoutMs: 100 })
      await tick(100)
      for (const error of await Promise.all(calls)) expect(error).toMatchObject({ code: 'CLOSED' })
      await tick(1_000)
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
})
