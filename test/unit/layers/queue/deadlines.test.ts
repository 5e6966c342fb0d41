import { describe, expect, it } from 'vitest'
import { base, type CallOptions, type Context, collect, stack } from '../../../../src/core/index.js'
import { type QueueOptions, queue } from '../../../../src/layers/queue/index.js'
import { timeout } from '../../../../src/layers/timeout.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { type Gate, gate, never } from '../../../support/gate.js'
import { heldQueue } from '../../../support/held-queue.js'
import { numbers } from '../../../support/streams.js'
import { failure, states, watch } from '../../../support/watch.js'

useFakeTimers()

describe('queue', () => {
  describe('with deadlines', () => {
    /** A queue that knows that calls take 100 ms. */
    async function practised(options: QueueOptions = {}) {
      const all = heldQueue({ concurrency: 1, ...options })
      for (let i = 0; i < 10; i++) {
        const done = all.call(`practice ${i}`)
        await tick(100)
        await all.end(`practice ${i}`)
        expect(done.state).toBe('resolved')
      }
      return all
    }

    it('immediately rejects a call that would miss its deadline and says when to retry', async () => {
      const { ask, call, end, stats } = await practised()
      const calls = ['a', 'b', 'c'].map((request) => call(request))
      // Three before it and itself: 400 ms.
      const error = await failure(ask('d', { timeoutMs: 350 }))
      expect(error).toMatchObject({
        code: 'QUEUE_FULL',
        status: 503,
        refused: true,
        layer: 'queue',
      })
      expect((error as { retryAfter: number }).retryAfter).toBeCloseTo(50)
      expect((error as Error).message).toMatch(
        /with 2 calls queued ahead, this call would finish about 50 ms past its deadline/,
      )
      calls.push(call('e', { timeoutMs: 450 }))
      for (const request of ['a', 'b', 'c', 'e']) {
        await tick(100)
        await end(request)
      }
      expect(states(calls)).toBe('resolved resolved resolved resolved')
      expect(stats()).toMatchObject({ running: 0, waiting: 0, completed: 14, rejected: 1 })
    })

    it('counts only the calls that go first', async () => {
      const { call, end } = await practised()
      const calls = [
        call('a'),
        call('b'),
        call('c'),
        call('urgent', { priority: 1, timeoutMs: 250 }),
      ]
      for (const request of ['a', 'urgent', 'b', 'c']) {
        await tick(100)
        await end(request)
      }
      expect(states(calls)).toBe('resolved resolved resolved resolved')
    })

    it('checks again at the head of the queue and gives the slot to a call that can use it', async () => {
      const { call, end, started, stats } = await practised()
      const calls = [call('slow'), call('hopeless', { timeoutMs: 250 }), call('patient')]
      await tick(200)
      await end('slow')
      expect(calls[1]).toMatchObject({
        state: 'rejected',
        error: { code: 'QUEUE_FULL', refused: true },
      })
      expect(started.slice(10)).toEqual(['slow', 'patient'])
      expect(stats()).toMatchObject({ running: 1, waiting: 0, rejected: 1 })
      await end('patient')
      expect(calls[2]!.state).toBe('resolved')
      expect(stats()).toMatchObject({ running: 0, completed: 12 })
    })

    it('rejects no call that need not wait or has no deadline', async () => {
      const { call, end } = await practised()
      const first = call('a', { timeoutMs: 5 })
      const second = call('b')
      await end('a')
      expect(first.state).toBe('resolved')
      await end('b')
      expect(second.state).toBe('resolved')
    })

    it('rejects no call before it knows how long calls take', async () => {
      const { call, end } = heldQueue({ concurrency: 1 })
      const calls = [call('a'), call('b', { timeoutMs: 50 })]
      await tick(50)
      expect(calls[1]).toMatchObject({
        state: 'rejected',
        error: { code: 'TIMEOUT', phase: 'queue' },
      })
      await end('a')
    })

    it('estimates plain calls and streams separately', async () => {
      const works: Gate<unknown>[] = []
      const ask = stack(
        base(
          async (_: { stream: boolean }): Promise<unknown> => {
            const work = gate<unknown>()
            works.push(work)
            return work.promise
          },
          { streams: ({ stream }) => stream },
        ),
        queue({ concurrency: 10 }),
      )
      const pass = async (stream: boolean, ms: number) => {
        const calls = Array.from({ length: 10 }, () => ask({ stream }))
        await tick(ms)
        for (const work of works.splice(0)) work.open(stream ? numbers(1) : 'done')
        for (const answer of await Promise.all(calls))
          if (stream) await collect(answer as AsyncIterable<unknown>)
      }
      await pass(true, 9_000)
      await pass(false, 100)
      const running = Array.from({ length: 10 }, () => ask({ stream: false }))
      // The mean is some 4.5 s, so that the next turn comes in about 455 ms.
      expect(await failure(ask({ stream: true }, { timeoutMs: 1_000 }))).toMatchObject({
        code: 'QUEUE_FULL',
      })
      const plain = watch(ask({ stream: false }, { timeoutMs: 1_000 }))
      await tick(100)
      for (const work of works.splice(0)) work.open('done')
      await Promise.all(running)
      await tick()
      works[0]!.open('done')
      await tick()
      expect(plain.value).toBe('done')
    })

    it('takes short calls that wait behind one long call among them', async () => {
      const { call, end } = await practised()
      call('long')
      await tick(5_000)
      await end('long')
      // The mean is 700 ms now; what a call takes at least is still unknown to be more than
      // nothing.
      const calls = [call('short'), call('other', { timeoutMs: 750 })]
      await tick(100)
      await end('short')
      await end('other')
      expect(calls.map(({ state }) => state)).toEqual(['resolved', 'resolved'])
    })
  })

  describe('time limits', () => {
    const timedOut = {
      code: 'TIMEOUT',
      phase: 'queue',
      layer: 'queue',
      refused: true,
      retryable: false,
    }

    it('ends a wait after maxWaitMs', async () => {
      const { call, end, started, stats } = heldQueue({ concurrency: 1, maxWaitMs: 100 })
      call('a')
      await tick(50)
      const b = call('b')
      await tick(99)
      expect(b.state).toBe('pending')
      await tick(1)
      expect(b.error).toMatchObject({ ...timedOut, status: 504, ms: 100 })
      expect(stats()).toMatchObject({ waiting: 0, rejected: 1 })
      await end('a')
      expect(started).toEqual(['a'])
    })

    it("does not count a call's own time against maxWaitMs", async () => {
      const { call, end } = heldQueue({ concurrency: 1, maxWaitMs: 100 })
      const a = call('a')
      await tick(10_000)
      await end('a')
      expect(a.value).toBe('answer to a')
    })

    it.each([
      ["the call's timeoutMs", (ms: number): CallOptions => ({ timeoutMs: ms })],
      ["the call's deadline", (ms: number): CallOptions => ({ deadline: performance.now() + ms })],
    ])('ends a wait by %s, and tells that the call never ran', async (_, options) => {
      const { call, end, started, stats } = heldQueue({ concurrency: 1 })
      call('a')
      const b = call('b', options(100))
      await tick(97)
      expect(b.state).toBe('pending')
      await tick(3)
      expect(b.error).toMatchObject(timedOut)
      await end('a')
      expect(started).toEqual(['a'])
      expect(stats()).toMatchObject({ waiting: 0, rejected: 1 })
    })

    it('reports the same when the limit comes from a timeout layer', async () => {
      const ask = stack((_: string) => never(), timeout({ ms: 100 }), queue({ concurrency: 1 }))
      const calls = [watch(ask('a')), watch(ask('b'))]
      await tick(100)
      expect(calls[0]!.error).toMatchObject({ phase: 'total', refused: false })
      expect(calls[1]!.error).toMatchObject({ phase: 'queue', refused: true })
    })

    it('counts the wait against the deadline of the work', async () => {
      const left: number[] = []
      const works: Gate[] = []
      const ask = stack(
        async (_: string, { deadline }: Context) => {
          left.push(deadline - performance.now())
          works.push(gate())
          await works.at(-1)!.promise
        },
        timeout({ ms: 100 }),
        queue({ concurrency: 1 }),
      )
      const calls = [watch(ask('a')), watch(ask('b'))]
      await tick(60)
      works[0]!.open()
      await tick()
      works[1]!.open()
      await tick()
      expect(left).toEqual([100, 40])
      expect(calls.map(({ state }) => state)).toEqual(['resolved', 'resolved'])
    })
  })
})
