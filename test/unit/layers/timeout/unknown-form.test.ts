import { describe, expect, it } from 'vitest'
import { collect, stack } from '../../../../src/core/index.js'
import { timeout } from '../../../../src/layers/timeout.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { never } from '../../../support/gate.js'
import { numbers, stalling } from '../../../support/streams.js'
import { later, timed, told } from '../../../support/timed.js'
import { watch } from '../../../support/watch.js'

useFakeTimers()

describe('timeout', () => {
  describe('when the form of the answer is not known before', () => {
    const limits = { ms: 100, streamMs: 300, firstTokenMs: 200 }

    it('lets the longer limit hold until the form is seen', async () => {
      const call = watch(
        stack(
          told(undefined, () => never()),
          timeout(limits),
        )('x'),
      )
      await tick(299)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(call.error).toMatchObject({ ms: 300, phase: 'total' })
    })

    it('refuses a value that came later than ms', async () => {
      const call = watch(stack(told(undefined, later(150, 'value')), timeout(limits))('x'))
      await tick(150)
      expect(call.error).toMatchObject({ ms: 100, phase: 'total' })
    })

    it('takes a value that came within ms', async () => {
      const call = watch(stack(told(undefined, later(100, 'value')), timeout(limits))('x'))
      await tick(100)
      expect(call.value).toBe('value')
    })

    it("gives a stream its own limit, from the call's start", async () => {
      const ask = stack(
        told(undefined, async () => {
          await later(90, 0)()
          return stalling(1)
        }),
        timeout({ ms: 1_000, streamMs: 200 }),
      )
      const call = watch(ask('x').then(collect))
      await tick(199)
      expect(call.state).toBe('pending')
      await tick(1)
      expect(call.error).toMatchObject({ ms: 200, phase: 'total' })
    })

    it('immediately cuts a stream that begins after its limit', async () => {
      const ask = stack(
        told(undefined, later(400, numbers(5))),
        timeout({ ms: 1_000, streamMs: 200 }),
      )
      const call = watch(ask('x').then(collect))
      await tick(401)
      expect(call.error).toMatchObject({ ms: 200, phase: 'total' })
    })

    it('refuses a stream whose first token came too late', async () => {
      const call = watch(stack(told(undefined, later(250, numbers(5))), timeout(limits))('x'))
      await tick(250)
      expect(call.error).toMatchObject({ ms: 200, phase: 'first-token' })
    })

    it('knows that an async generator function streams', async () => {
      const call = watch(stack(() => timed(400), timeout({ ms: 1_000, firstTokenMs: 50 }))())
      const told = watch(
        stack(
          async function* () {
            yield* timed(400)
          },
          timeout({ ms: 1_000, firstTokenMs: 50 }),
        )(),
      )
      await tick(50)
      expect(call.state).toBe('pending')
      expect(told.error).toMatchObject({ phase: 'first-token' })
      await tick(400)
      expect(call.error).toMatchObject({ phase: 'first-token' })
    })
  })
})
