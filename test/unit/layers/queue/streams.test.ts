import { describe, expect, it } from 'vitest'
import { collect, type Stream, stack } from '../../../../src/core/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { breaking, driven, numbers } from '../../../support/streams.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

describe('queue', () => {
  describe('the slot of a stream', () => {
    const slot = () => {
      const works: ReturnType<typeof driven<number>>[] = []
      const ask = stack(
        async () => {
          const work = driven<number>()
          works.push(work)
          work.stream.log.push(0)
          return work.stream as Stream<number>
        },
        queue({ concurrency: 1 }),
      )
      return { ask, works }
    }

    it('is held to the last chunk', async () => {
      const { ask, works } = slot()
      const stream = await ask()
      const second = watch(ask())
      await stream.next()
      await tick(1_000)
      expect(works).toHaveLength(1)
      works[0]!.stream.log.push(1)
      await stream.next()
      expect(second.state).toBe('pending')
      works[0]!.stream.log.end()
      await tick()
      expect(second.state).toBe('resolved')
      expect(ask.stats().queue).toMatchObject({ running: 1, completed: 1 })
      await second.value!.return(undefined)
    })

    it('is held while its chunks wait for a slow reader', async () => {
      const { ask, works } = slot()
      const stream = await ask()
      works[0]!.stream.log.push(1)
      works[0]!.stream.log.end()
      const second = watch(ask())
      await stream.next()
      await tick(1_000)
      expect(second.state).toBe('pending')
      await stream.next()
      await tick()
      expect(second.state).toBe('resolved')
      await second.value!.return(undefined)
    })

    it.each([
      [
        'it breaks',
        (_: AsyncGenerator<number>, work: Stream<number>) => work.log.fail(new Error('broke')),
        { failed: 1 },
      ],
      [
        'its reader leaves',
        (stream: AsyncGenerator<number>) => void stream.return(undefined),
        { completed: 1 },
      ],
    ] as const)('is free when %s', async (_, act, counted) => {
      const { ask, works } = slot()
      const stream = await ask()
      await stream.next()
      const second = watch(ask())
      act(stream, works[0]!.stream)
      await tick()
      expect(second.state).toBe('resolved')
      expect(ask.stats().queue).toMatchObject(counted)
      await second.value!.return(undefined)
    })

    it('is free when its caller aborts, and when nobody reads it', async () => {
      const { ask } = slot()
      const caller = new AbortController()
      await ask(undefined, { signal: caller.signal })
      const second = watch(ask())
      caller.abort()
      await tick()
      expect(second.state).toBe('resolved')
      const third = watch(ask())
      await tick(30_000)
      expect(third.state).toBe('resolved')
      await third.value!.return(undefined)
      expect(ask.stats().queue).toMatchObject({ running: 0, failed: 2 })
    })

    it('is free when it breaks before its commit', async () => {
      const ask = stack(async () => breaking(0, new Error('broke')), queue({ concurrency: 1 }))
      await failure(ask())
      expect(ask.stats().queue).toMatchObject({ running: 0, failed: 1 })
    })
  })

  it('serves a stream that is read as it comes', async () => {
    const ask = stack(async () => numbers(100), queue({ concurrency: 1 }))
    for (let i = 0; i < 5; i++) expect(await collect(await ask())).toHaveLength(100)
    expect(ask.stats().queue).toMatchObject({ completed: 5, running: 0 })
  })
})
