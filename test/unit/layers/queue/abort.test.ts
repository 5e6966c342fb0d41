import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { stack } from '../../../../src/core/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { type Gate, gate } from '../../../support/gate.js'
import { heldQueue } from '../../../support/held-queue.js'
import { catchWarnings } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

describe('queue', () => {
  describe('an abort', () => {
    it('of a waiting call settles at once, costs nothing and is counted', async () => {
      const { call, end, started, stats } = heldQueue({ concurrency: 1 })
      const caller = new AbortController()
      call('a')
      const b = call('b', { signal: caller.signal })
      caller.abort('enough')
      expect(stats().waiting).toBe(0)
      await tick()
      expect(b.error).toBe('enough')
      await end('a')
      expect(started).toEqual(['a'])
      expect(stats()).toMatchObject({ running: 0, completed: 1, rejected: 1 })
    })

    it('of 50 waiting calls on one signal needs one listener and causes no warning', async () => {
      const said = catchWarnings()
      const { call, end, stats } = heldQueue({ concurrency: 1 })
      const caller = new AbortController()
      call('a')
      const calls = Array.from({ length: 50 }, (_, i) => call(`${i}`, { signal: caller.signal }))
      expect(getEventListeners(caller.signal, 'abort').length).toBeLessThanOrEqual(1)
      caller.abort('enough')
      await tick()
      expect(calls.every(({ error }) => error === 'enough')).toBe(true)
      expect(stats()).toMatchObject({ waiting: 0, rejected: 50 })
      await end('a')
      expect(said).toEqual([])
      expect(getEventListeners(caller.signal, 'abort')).toHaveLength(0)
    })

    it('of a running call frees its slot only after its work ends', async () => {
      const { call, end, started } = heldQueue({ concurrency: 1 })
      const caller = new AbortController()
      const a = call('a', { signal: caller.signal })
      call('b')
      caller.abort('enough')
      await tick(1_000)
      expect(a.error).toBe('enough')
      expect(started).toEqual(['a'])
      await end('a')
      expect(started).toEqual(['a', 'b'])
      await end('b')
    })

    it('before the call leaves no trace', async () => {
      const { ask, started, stats } = heldQueue()
      expect(await failure(ask('a', { signal: AbortSignal.abort('before') }))).toBe('before')
      expect(started).toEqual([])
      expect(stats()).toMatchObject({ running: 0, rejected: 0 })
    })

    it('at the very moment a call gets its turn passes the slot on', async () => {
      const works: Gate[] = []
      const ask = stack(
        async () => {
          const work = gate()
          works.push(work)
          await work.promise
        },
        queue({ concurrency: 1 }),
      )
      const caller = new AbortController()
      watch(ask())
      watch(ask(undefined, { signal: caller.signal }))
      const third = watch(ask())
      works[0]!.open()
      for (let i = 0; i < 20; i++) {
        await Promise.resolve()
        if (ask.stats().queue.waiting === 1) caller.abort('enough')
      }
      await tick()
      expect(works).toHaveLength(2)
      works[1]!.open()
      await tick()
      expect(third.state).toBe('resolved')
      expect(ask.stats().queue).toMatchObject({ running: 0, waiting: 0 })
    })
  })
})
