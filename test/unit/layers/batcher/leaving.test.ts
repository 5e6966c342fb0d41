import { describe, expect, it, vi } from 'vitest'
import {
  type CallOptions,
  type Context,
  stack,
  ValidationError,
} from '../../../../src/core/index.js'
import { batcher } from '../../../../src/layers/batcher/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never, untilAborted } from '../../../support/gate.js'
import { left } from '../../../support/leaving.js'
import { pass, range, squares } from '../../../support/squares.js'
import { failure, states, watch } from '../../../support/watch.js'

useFakeTimers()

const badRequest = () => new ValidationError('one of the inputs is bad')

type Batched = (inputs: number[], options: CallOptions) => Promise<number[]>

/** One batch of so many calls, each of a caller that may leave. */
async function begun(count: number, batched: Batched) {
  const callers = range(count).map(() => new AbortController())
  const calls = callers.map(({ signal }, n) => watch(batched([n], { signal })))
  await pass()
  return { callers, calls }
}

/** Of two callers who share some work, the first leaves it running, and the second aborts it. */
function expectAbortByTheSecond(callers: readonly AbortController[], { signal }: Context) {
  callers[0]!.abort(left())
  expect(signal.aborted).toBe(false)
  callers[1]!.abort(left())
  expect(signal.reason).toBe(callers[1]!.signal.reason)
}

describe('batcher', () => {
  describe('leaving', () => {
    it('leaves out callers who left before the batch began', async () => {
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

    it('does not begin a batch that everybody has left, and still serves the next caller', async () => {
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

    it('makes room for other calls when a caller leaves', async () => {
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

    it('lets one caller leave a running batch without failing the others', async () => {
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

    it('aborts the work when the last caller has left', async () => {
      const contexts: Context[] = []
      const batched = stack((_: number[], context: Context) => {
        contexts.push(context)
        return never<number[]>()
      }, batcher())
      const { callers, calls } = await begun(2, batched)
      expectAbortByTheSecond(callers, contexts[0]!)
      await tick()
      expect(states(calls)).toBe('rejected rejected')
    })

    it('aborts the search for a bad input when all callers still waiting have left, and asks for none of them again', async () => {
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
      const { callers, calls } = await begun(4, batched)
      expect(states(calls)).toBe('resolved resolved pending pending')
      callers[2]!.abort(left())
      expect(contexts.at(-1)!.signal.aborted).toBe(false)
      callers[3]!.abort(left())
      expect(contexts.at(-1)!.signal.aborted).toBe(true)
      second.open()
      await tick()
      expect(asked).toEqual([
        [0, 1, 2, 3],
        [0, 1],
        [2, 3],
      ])
      await batched.close()
    })

    it('asks for the second half at once when everybody in the first half has left', async () => {
      const contexts: Context[] = []
      const batched = stack(async (inputs: number[], context: Context) => {
        contexts.push(context)
        if (inputs.length === 4) throw new Error('the function failed')
        if (!inputs.includes(0)) return inputs
        return untilAborted(inputs, context)
      }, batcher())
      const { callers, calls } = await begun(4, batched)
      expectAbortByTheSecond(callers, contexts[1]!)
      await tick()
      expect(states(calls)).toBe('rejected rejected resolved resolved')
      await batched.close()
    })

    it('does not abort work that has already answered', async () => {
      const { ask, contexts } = squares()
      const batched = stack(ask, batcher())
      const calls = Promise.all([batched([1]), batched([2])])
      await pass()
      await calls
      expect(contexts[0]!.signal.aborted).toBe(false)
    })

    it('counts every request that a layer makes within one call', async () => {
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
})
