import { describe, expect, it } from 'vitest'
import { base, StackError, stack, ValidationError } from '../../../../src/core/index.js'
import { batcher } from '../../../../src/layers/batcher/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { pass, range, squares } from '../../../support/squares.js'
import { catchWarningsInEachTest, named } from '../../../support/warnings.js'
import { failure } from '../../../support/watch.js'

useFakeTimers()
const warnings = catchWarningsInEachTest()

const badRequest = () => new ValidationError('one of the inputs is bad')
const upstreamError = (status: number) =>
  new StackError('upstream failed', { code: 'SERVER', status, retryable: true })

/** So many calls at once of a function that is down, and with what they failed. */
async function outage(count: number, error: unknown) {
  const { ask, asked } = squares(() => error)
  const batched = stack(ask, batcher())
  const calls = range(count).map((n) => failure(batched([n])))
  await pass()
  return { errors: new Set(await Promise.all(calls)), asked }
}

describe('batcher', () => {
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

    it('finds each of several bad inputs', async () => {
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

    it('makes few calls when an outage shows as errors it does not know', async () => {
      const error = new Error('everything is down')
      const { errors, asked } = await outage(32, error)
      expect(errors).toEqual(new Set([error]))
      expect(asked.length).toBeLessThanOrEqual(7)
    })

    it.each([
      ['a 5xx', upstreamError(503)],
      ['a time-out', new StackError('too slow', { code: 'TIMEOUT', status: 504 })],
      ['a refused key', new StackError('no', { code: 'AUTH', status: 401 })],
    ])('fails all requests with %s, after one call', async (_, error) => {
      const { errors, asked } = await outage(10, error)
      expect(errors).toEqual(new Set([error]))
      expect(asked.length).toBe(1)
    })

    it('lets a retry inside repeat the whole batch', async () => {
      let failures = 1
      const { ask, asked } = squares(() => (failures-- > 0 ? upstreamError(503) : undefined))
      const batched = stack(ask, batcher(), retry({ minDelayMs: 0 }))
      const calls = Promise.all([batched([1]), batched([2])])
      await tick(10)
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
    ])('fails all requests when the answer is %s, after one call', async (_, answer) => {
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
          message: 'batcher: the function must return an array with exactly one item per input.',
        })
      }
      expect(asked).toEqual([[0, 1, 2]])
    })

    it('does not batch when split() throws, with a warning, and asks one by one when merge() throws', async () => {
      const { ask, asked } = squares()
      const mishap = () => {
        throw named('SplitMishap')
      }
      const unsplit = stack(base(ask, { split: mishap }), batcher())
      expect(await Promise.all([unsplit([1]), unsplit([2])])).toEqual([[1], [4]])
      expect(warnings).toEqual(['batcher: split() threw SplitMishap. The call continued.'])
      const unmerged = stack(base(ask, { merge: mishap }), batcher())
      const calls = Promise.all([unmerged([3]), unmerged([4])])
      await pass()
      expect(await calls).toEqual([[9], [16]])
      expect(asked).toEqual([[1], [2], [3], [4]])
    })
  })
})
