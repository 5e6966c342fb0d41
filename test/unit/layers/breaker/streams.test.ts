import { describe, expect, it } from 'vitest'
import { collect, stack } from '../../../../src/core/index.js'
import { type BreakerOptions, breaker } from '../../../../src/layers/breaker/index.js'
import { closeBreakers, kept, SMALL, UNTOUCHED } from '../../../support/breakers.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { breaking, numbers } from '../../../support/streams.js'
import { down } from '../../../support/upstream.js'
import { failure } from '../../../support/watch.js'

useFakeTimers({ atEnd: closeBreakers })

describe('breaker', () => {
  describe('around streams', () => {
    const streams = (options: BreakerOptions = {}) => {
      const ask = kept(
        stack(
          (make: () => AsyncGenerator<number>) => Promise.resolve(make()),
          breaker({ ...SMALL, minimumCalls: 1, ...options }),
        ),
      )
      return { ask, stats: () => ask.stats().breaker }
    }

    it('gives its verdict at the end, not at the beginning', async () => {
      const { ask, stats } = streams()
      const stream = await ask(() => numbers(2))
      expect(stats().successes).toBe(0)
      await stream.next()
      await stream.next()
      expect(stats().successes).toBe(0)
      await stream.next()
      expect(stats().successes).toBe(1)
    })

    it('counts a stream that breaks half-way', async () => {
      const { ask, stats } = streams()
      expect(await failure(collect(await ask(() => breaking(2, down()))))).toMatchObject({
        code: 'SERVER',
      })
      expect(stats()).toMatchObject({ state: 'open', failures: 1, successes: 0 })
    })

    it('gives no verdict on a stream that its reader leaves', async () => {
      const { ask, stats } = streams()
      for await (const _ of await ask(() => numbers(5))) break
      expect(stats()).toEqual(UNTOUCHED)
    })

    it('gives no verdict on a stream that its caller aborts half-way', async () => {
      const { ask, stats } = streams()
      const caller = new AbortController()
      const stream = await ask(() => numbers(5), { signal: caller.signal })
      await stream.next()
      caller.abort('enough')
      expect(await failure(stream.next())).toBe('enough')
      expect(stats()).toMatchObject({ state: 'closed', failures: 0 })
    })

    it('gives no verdict on a stream that nobody reads', async () => {
      const { ask, stats } = streams()
      const stream = await ask(() => numbers(5))
      await tick(30_000)
      expect(await failure(stream.next())).toMatchObject({ code: 'TIMEOUT', phase: 'read' })
      expect(stats()).toMatchObject({ state: 'closed', failures: 0 })
    })

    it('keeps the one trial until its stream ends', async () => {
      const { ask, stats } = streams()
      await failure(ask(() => breaking(0, down())))
      await tick(500)
      const stream = await ask(() => numbers(2))
      expect(await failure(ask(() => numbers(2)))).toMatchObject({ code: 'BREAKER_OPEN' })
      await collect(stream)
      expect(stats().state).toBe('closed')
    })

    it('opens at 10 failures while 20 streams are open', async () => {
      const { ask, stats } = streams({ minimumCalls: 10 })
      const long = await Promise.all(Array.from({ length: 20 }, () => ask(() => numbers(9))))
      await Promise.all(long.map((stream) => stream.next()))
      for (let i = 0; i < 10; i++) await failure(collect(await ask(() => breaking(1, down()))))
      expect(stats()).toMatchObject({ state: 'open', failures: 10 })
      for (const stream of long) await stream.return(undefined)
    })
  })
})
