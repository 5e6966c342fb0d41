import { describe, expect, it, vi } from 'vitest'
import { createBlossom } from '../../../../src/client/index.js'
import { base, type Context, stack } from '../../../../src/core/index.js'
import { batcher } from '../../../../src/layers/batcher/index.js'
import { startLocalBlossom } from '../../../../src/testing/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { untilAborted } from '../../../support/gate.js'
import { range } from '../../../support/squares.js'
import { failure } from '../../../support/watch.js'

useFakeTimers()

/** Squares, four inputs a call at most, and what was asked. */
function squares(
  answer: (inputs: readonly number[], context: Context) => number[] | Promise<number[]> = (
    inputs,
  ) => inputs.map((n) => n * n),
) {
  const asked: (readonly number[])[] = []
  const contexts: Context[] = []
  const ask = stack(
    async (inputs: readonly number[], context: Context) => {
      asked.push(inputs)
      contexts.push(context)
      return answer(inputs, context)
    },
    batcher({ maxItems: 4, maxDelayMs: 5 }),
  )
  return { ask, asked, contexts }
}

describe('a call with more inputs than a batch may hold', () => {
  it('is sent in several parts and answered as one, in order', async () => {
    const { ask, asked } = squares()
    const answer = ask(range(10))
    await tick(5)
    expect(await answer).toEqual(range(10).map((n) => n * n))
    expect(asked).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ])
    expect(ask.stats().batcher).toEqual({ batches: 3, items: 10 })
  })

  it('shares its last part with other calls', async () => {
    const { ask, asked } = squares()
    const answers = Promise.all([ask(range(6)), ask([7, 8])])
    await tick()
    expect(await answers).toEqual([
      [0, 1, 4, 9, 16, 25],
      [49, 64],
    ])
    expect(asked).toEqual([
      [0, 1, 2, 3],
      [4, 5, 7, 8],
    ])
  })

  it('fails with the first part that fails, and aborts the other parts', async () => {
    const { ask, contexts } = squares((inputs, context) => {
      if (inputs.includes(5)) throw new RangeError('five')
      return untilAborted(inputs, context)
    })
    const error = failure(ask(range(9)))
    await tick(5)
    expect(await error).toMatchObject({ message: 'five' })
    expect(contexts[0]?.signal.aborted).toBe(true)
    await ask.close()
  })

  it('ends all parts when its caller leaves', async () => {
    const { ask, contexts } = squares(untilAborted)
    const caller = new AbortController()
    const error = failure(ask(range(10), { signal: caller.signal }))
    await tick(5)
    caller.abort(new Error('the caller has left'))
    expect(await error).toMatchObject({ message: 'the caller has left' })
    expect(contexts.map(({ signal }) => signal.aborted)).toEqual([true, true, true])
    await ask.close()
  })

  it('fails when a part is not answered with one item for each input', async () => {
    const { ask } = squares((inputs) => inputs.slice(1))
    const error = failure(ask(range(8)))
    await tick()
    expect(await error).toMatchObject({ name: 'TypeError' })
  })

  it('is sent whole when the base counts inputs but does not say how to divide them', async () => {
    const asked: number[] = []
    const fn = async ({ count }: { count: number }) => {
      asked.push(count)
      return count
    }
    const ask = stack(
      base(fn, { split: ({ count }) => ({ group: '', size: count }) }),
      batcher({ maxItems: 4 }),
    )
    expect(await ask({ count: 10 })).toBe(10)
    expect(asked).toEqual([10])
  })

  it('is divided the way the base says', async () => {
    const fn = async ({ count }: { count: number }) => count
    const ask = stack(
      base(fn, {
        split: ({ count }) => ({ group: '', size: count }),
        divide: ({ count }, size) => ({
          requests: [{ count: size }, { count: count - size }],
          join: (answers) => answers.reduce((sum, one) => sum + one, 100),
        }),
      }),
      batcher({ maxItems: 4, maxDelayMs: 5 }),
    )
    const answer = ask({ count: 7 })
    await tick(5)
    expect(await answer).toBe(107)
  })
})

it('divides an embeddings call of the client, and returns the embeddings in order with the total usage', async () => {
  vi.useRealTimers()
  await using local = await startLocalBlossom()
  const options = { baseURL: local.url }
  await using plain = createBlossom(options)
  const divided = createBlossom({ ...options, layers: [batcher({ maxItems: 4, maxDelayMs: 0 })] })
  const inputs = range(10).map((n) => `text ${n}`)
  const { headers: _, ...expected } = await plain.embeddings.create(inputs)
  const before = local.requests.length
  expect(await divided.embeddings.create(inputs)).toMatchObject(expected)
  const sizes = local.requests
    .slice(before)
    .map(({ body }) => (body as { input: string[] }).input.length)
  expect(sizes.sort()).toEqual([2, 4, 4])
  await divided.close()
})
