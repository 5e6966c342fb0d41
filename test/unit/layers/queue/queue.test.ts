import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createBlossom } from '../../../../src/client/client.js'
import {
  base,
  type CallOptions,
  type Context,
  collect,
  type Stream,
  stack,
} from '../../../../src/core/index.js'
import { type QueueOptions, queue } from '../../../../src/layers/queue/index.js'
import { timeout } from '../../../../src/layers/timeout.js'
import { startLocalBlossom } from '../../../../src/testing/local-blossom/index.js'
import { type Gate, gate, never } from '../../../support/gate.js'
import { breaking, driven, numbers } from '../../../support/streams.js'
import { catchWarnings } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  if (vi.isFakeTimers()) expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const tick = (ms = 0) => vi.advanceTimersByTimeAsync(ms)

/** A queue around work that the test ends one by one; it heeds no signal. */
function held(options: QueueOptions = {}) {
  const works = new Map<string, Gate<string>>()
  const started: string[] = []
  const at: number[] = []
  const ask = stack((request: string) => {
    const work = gate<string>()
    works.set(request, work)
    started.push(request)
    at.push(performance.now())
    return work.promise
  }, queue(options))
  const end = async (...requests: string[]) => {
    for (const request of requests) works.get(request)!.open(`answer to ${request}`)
    await tick()
  }
  const call = (request: string, options?: CallOptions) => watch(ask(request, options))
  return { ask, call, end, works, started, at, stats: () => ask.stats().queue }
}

describe('queue', () => {
  it('lets as many run as it has slots, and the others wait', async () => {
    const { call, end, started, stats } = held({ concurrency: 2 })
    const calls = ['a', 'b', 'c', 'd'].map((request) => call(request))
    expect(started).toEqual(['a', 'b'])
    expect(stats()).toEqual({
      concurrency: 2,
      running: 2,
      waiting: 2,
      completed: 0,
      failed: 0,
      rejected: 0,
      tenants: 0,
      fairnessIndex: 1,
    })
    await end('b')
    expect(started).toEqual(['a', 'b', 'c'])
    await end('a', 'c')
    await end('d')
    expect(calls.map(({ value }) => value)).toEqual([
      'answer to a',
      'answer to b',
      'answer to c',
      'answer to d',
    ])
    expect(stats()).toEqual({
      concurrency: 2,
      running: 0,
      waiting: 0,
      completed: 4,
      failed: 0,
      rejected: 0,
      tenants: 0,
      fairnessIndex: 1,
    })
  })

  it('has 5 slots and 1000 places by default, and no longest wait', async () => {
    const { ask, call, started, stats, works } = held()
    for (let i = 0; i < 1_005; i++) call(`${i}`)
    await tick(24 * 3_600_000)
    expect(stats()).toMatchObject({ concurrency: 5, running: 5, waiting: 1_000 })
    expect(await failure(ask('one more'))).toMatchObject({ code: 'QUEUE_FULL', limit: 1_000 })
    for (let i = 0; i < 1_005; i++) {
      works.get(`${i}`)!.open('')
      if (i % 5 === 4) await tick()
    }
    expect(started).toHaveLength(1_005)
    expect(stats()).toMatchObject({ running: 0, waiting: 0, completed: 1_005, rejected: 1 })
  })

  it('starts a call that need not wait before it returns', () => {
    const { call, started } = held()
    call('a')
    expect(started).toEqual(['a'])
  })

  it('counts failures, and gives the slot on', async () => {
    const { call, works, end, stats } = held({ concurrency: 1 })
    const [a, b] = [call('a'), call('b')]
    const error = new Error('from upstream')
    works.get('a')!.fail(error)
    await tick()
    expect(a.error).toBe(error)
    await end('b')
    expect(b.value).toBe('answer to b')
    expect(stats()).toMatchObject({ completed: 1, failed: 1, rejected: 0 })
  })

  it('gives the slot on when the work throws at once', async () => {
    const ask = stack(
      () => {
        throw new Error('at once')
      },
      queue({ concurrency: 1 }),
    )
    for (let i = 0; i < 3; i++) expect(await failure(ask())).toMatchObject({ message: 'at once' })
    expect(ask.stats().queue).toMatchObject({ running: 0, failed: 3 })
  })

  describe('the order', () => {
    it('is that of arrival', async () => {
      const { call, end, started } = held({ concurrency: 1 })
      for (const request of ['a', 'b', 'c', 'd']) call(request)
      for (const request of ['a', 'b', 'c', 'd']) await end(request)
      expect(started).toEqual(['a', 'b', 'c', 'd'])
    })

    it('puts larger priorities first, and keeps to arrival within one', async () => {
      const { call, end, started } = held({ concurrency: 1 })
      call('first')
      for (const [request, priority] of [
        ['low', -1],
        ['normal 1', 0],
        ['high 1', 9],
        ['normal 2', undefined],
        ['high 2', 9],
        ['half', 0.5],
      ] as const)
        call(request, { priority })
      for (let i = 0; i < 7; i++) await end(started.at(-1)!)
      expect(started).toEqual(['first', 'high 1', 'high 2', 'half', 'normal 1', 'normal 2', 'low'])
    })

    it('lets no newcomer overtake those who wait, not in the moment a slot is free', async () => {
      const { works, call, started } = held({ concurrency: 1 })
      call('a').state
      call('b')
      works.get('a')!.open('')
      // Whatever comes in the microtasks behind the end of `a`.
      for (let i = 0; i < 10; i++) {
        await Promise.resolve()
        call(`new ${i}`)
      }
      expect(started.slice(0, 2)).toEqual(['a', 'b'])
      await tick()
      expect(started).toEqual(['a', 'b'])
      for (let i = 0; i < 11; i++) {
        works.get(started.at(-1)!)!.open('')
        await tick()
      }
      expect(started).toHaveLength(12)
    })
  })

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

  describe('when it is full', () => {
    it('refuses at once, without a call', async () => {
      const { ask, call, end, started, stats } = held({ concurrency: 1, maxWaiting: 1 })
      call('a')
      call('b')
      expect(await failure(ask('c'))).toMatchObject({
        code: 'QUEUE_FULL',
        status: 503,
        limit: 1,
        layer: 'queue',
        refused: true,
        retryable: false,
      })
      expect(started).toEqual(['a'])
      expect(stats()).toMatchObject({ waiting: 1, rejected: 1 })
      await end('a')
      await end('b')
    })

    it('lets nobody wait with a maxWaiting of 0', async () => {
      const { ask, call, end } = held({ concurrency: 1, maxWaiting: 0 })
      call('a')
      expect(await failure(ask('b'))).toMatchObject({ code: 'QUEUE_FULL', limit: 0 })
      await end('a')
      const c = call('c')
      await end('c')
      expect(c.state).toBe('resolved')
    })

    it('tells when a place may be free, once it knows how long a call takes', async () => {
      const { ask, call, end } = held({ concurrency: 2, maxWaiting: 2 })
      for (const request of ['a', 'b', 'c', 'd']) call(request)
      expect(await failure(ask('e'))).toMatchObject({ retryAfter: undefined })
      await tick(100)
      await end('a', 'b')
      for (const request of ['e', 'f']) call(request)
      // The third in line, two slots, 100 ms each.
      expect(await failure(ask('g'))).toMatchObject({ code: 'QUEUE_FULL', retryAfter: 150 })
      await end('c', 'd')
      await end('e', 'f')
    })

    it('has a place again when one who waits has left', async () => {
      const { call, end } = held({ concurrency: 1, maxWaiting: 1 })
      const caller = new AbortController()
      call('a')
      call('b', { signal: caller.signal })
      caller.abort()
      const c = call('c')
      await end('a')
      await end('c')
      expect(c.value).toBe('answer to c')
    })
  })

  describe('with deadlines', () => {
    /** A queue that knows that calls take 100 ms. */
    async function practised(options: QueueOptions = {}) {
      const all = held({ concurrency: 1, ...options })
      for (let i = 0; i < 10; i++) {
        const done = all.call(`practice ${i}`)
        await tick(100)
        await all.end(`practice ${i}`)
        expect(done.state).toBe('resolved')
      }
      return all
    }

    it('refuses at once the call that would not be done before its deadline, and says when to try again', async () => {
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
        /calls queued ahead \(2\), this call would finish about 50 ms past its deadline/,
      )
      calls.push(call('e', { timeoutMs: 450 }))
      for (const request of ['a', 'b', 'c', 'e']) {
        await tick(100)
        await end(request)
      }
      expect(calls.map(({ state }) => state)).toEqual([
        'resolved',
        'resolved',
        'resolved',
        'resolved',
      ])
      expect(stats()).toMatchObject({ running: 0, waiting: 0, completed: 14, rejected: 1 })
    })

    it('counts only those who go first', async () => {
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
      expect(calls.map(({ state }) => state)).toEqual([
        'resolved',
        'resolved',
        'resolved',
        'resolved',
      ])
    })

    it('looks again at the head of the queue, and gives the slot to a call that can use it', async () => {
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

    it('refuses nobody who need not wait, and nobody without a deadline', async () => {
      const { call, end } = await practised()
      const first = call('a', { timeoutMs: 5 })
      const second = call('b')
      await end('a')
      expect(first.state).toBe('resolved')
      await end('b')
      expect(second.state).toBe('resolved')
    })

    it('refuses nobody before it knows how long calls take', async () => {
      const { call, end } = held({ concurrency: 1 })
      const calls = [call('a'), call('b', { timeoutMs: 50 })]
      await tick(50)
      expect(calls[1]).toMatchObject({
        state: 'rejected',
        error: { code: 'TIMEOUT', phase: 'queue' },
      })
      await end('a')
    })

    it('judges plain calls and streams each by their own kind', async () => {
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

  describe('an abort', () => {
    it('of one who waits settles at once, costs nothing and is counted', async () => {
      const { call, end, started, stats } = held({ concurrency: 1 })
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

    it('of 50 who wait on one signal needs one listener and no warning', async () => {
      const said = catchWarnings()
      const { call, end, stats } = held({ concurrency: 1 })
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

    it('of one that runs frees its slot only when its work has ended', async () => {
      const { call, end, started } = held({ concurrency: 1 })
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
      const { ask, started, stats } = held()
      expect(await failure(ask('a', { signal: AbortSignal.abort('before') }))).toBe('before')
      expect(started).toEqual([])
      expect(stats()).toMatchObject({ running: 0, rejected: 0 })
    })

    it('in the very moment its turn comes gives the slot on', async () => {
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

  describe('time limits', () => {
    it('ends a wait after maxWaitMs', async () => {
      const { call, end, started, stats } = held({ concurrency: 1, maxWaitMs: 100 })
      call('a')
      await tick(50)
      const b = call('b')
      await tick(99)
      expect(b.state).toBe('pending')
      await tick(1)
      expect(b.error).toMatchObject({
        code: 'TIMEOUT',
        status: 504,
        phase: 'queue',
        ms: 100,
        layer: 'queue',
        refused: true,
        retryable: false,
      })
      expect(stats()).toMatchObject({ waiting: 0, rejected: 1 })
      await end('a')
      expect(started).toEqual(['a'])
    })

    it("does not count a call's own time against maxWaitMs", async () => {
      const { call, end } = held({ concurrency: 1, maxWaitMs: 100 })
      const a = call('a')
      await tick(10_000)
      await end('a')
      expect(a.value).toBe('answer to a')
    })

    it.each([
      ["the call's timeoutMs", (ms: number): CallOptions => ({ timeoutMs: ms })],
      ["the call's deadline", (ms: number): CallOptions => ({ deadline: performance.now() + ms })],
    ])('ends a wait by %s, and tells that the call never ran', async (_, options) => {
      const { call, end, started, stats } = held({ concurrency: 1 })
      call('a')
      const b = call('b', options(100))
      await tick(97)
      expect(b.state).toBe('pending')
      await tick(3)
      expect(b.error).toMatchObject({
        code: 'TIMEOUT',
        phase: 'queue',
        layer: 'queue',
        refused: true,
        retryable: false,
      })
      await end('a')
      expect(started).toEqual(['a'])
      expect(stats()).toMatchObject({ waiting: 0, rejected: 1 })
    })

    it('tells the same when the limit is that of a timeout layer', async () => {
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

  it('notes in meta how long a call has waited, under its name', async () => {
    const works: Gate[] = []
    const ask = stack(
      async () => {
        works.push(gate())
        await works.at(-1)!.promise
      },
      queue({ concurrency: 1, name: 'slots' }),
    )
    const [first, second, third] = [1, 2, 3].map(() => new Map<string, unknown>())
    const caller = new AbortController()
    watch(ask(undefined, { meta: first! }))
    watch(ask(undefined, { meta: second! }))
    watch(ask(undefined, { meta: third!, signal: caller.signal }))
    await tick(70)
    caller.abort()
    await tick(10)
    works[0]!.open()
    await tick()
    works[1]!.open()
    await tick()
    expect(first!.has('slots')).toBe(false)
    expect(second!.get('slots')).toEqual({ waitedMs: 80 })
    expect(third!.get('slots')).toEqual({ waitedMs: 70 })
  })

  it("runs each call in its own caller's async context, also behind a wait", async () => {
    const caller = new AsyncLocalStorage<string>()
    const seen: string[] = []
    const ask = stack(
      async (request: string) => {
        seen.push(`${request} in ${caller.getStore()}`)
        await new Promise((resolve) => setTimeout(resolve, 10))
        seen.push(`${request} out ${caller.getStore()}`)
      },
      queue({ concurrency: 1 }),
    )
    for (const name of ['a', 'b', 'c', 'd']) caller.run(name, () => void watch(ask(name)))
    await tick(500)
    expect(seen).toEqual(
      ['a', 'b', 'c', 'd'].flatMap((name) => [`${name} in ${name}`, `${name} out ${name}`]),
    )
  })

  describe('closing', () => {
    it('ends those who wait at once and lets the running one finish', async () => {
      const { ask, call, end, started } = held({ concurrency: 1 })
      const a = call('a')
      const waiting = Array.from({ length: 50 }, (_, i) => call(`${i}`))
      const closed = watch(ask.close())
      await tick()
      for (const one of waiting)
        expect(one.error).toMatchObject({ code: 'CLOSED', layer: 'queue', refused: true })
      expect(a.state).toBe('pending')
      expect(closed.state).toBe('pending')
      await end('a')
      expect(a.value).toBe('answer to a')
      expect(closed.state).toBe('resolved')
      expect(started).toEqual(['a'])
      expect(ask.stats().queue).toMatchObject({
        running: 0,
        waiting: 0,
        completed: 1,
        rejected: 50,
      })
    })

    it('ends only the calls of the stack that closes, when several share the queue', async () => {
      const slots = queue({ concurrency: 1 })
      const works: Gate[] = []
      const base = async () => {
        works.push(gate())
        await works.at(-1)!.promise
      }
      const [one, other] = [stack(base, slots), stack(base, slots)]
      watch(one())
      const [ofOne, ofOther] = [watch(one()), watch(other())]
      const closed = watch(one.close())
      await tick()
      expect(ofOne.error).toMatchObject({ code: 'CLOSED' })
      expect(ofOther.state).toBe('pending')
      works[0]!.open()
      await tick()
      works[1]!.open()
      await tick()
      expect(ofOther.state).toBe('resolved')
      expect(closed.state).toBe('resolved')
    })
  })

  describe('options', () => {
    it.each([
      ['no slots', { concurrency: 0 }, '"concurrency"'],
      ['NaN slots', { concurrency: Number.NaN }, '"concurrency"'],
      ['half a slot', { concurrency: 1.5 }, '"concurrency"'],
      ['slots as a string', { concurrency: '5' }, '"concurrency"'],
      ['slots without end', { concurrency: Number.POSITIVE_INFINITY }, '"concurrency"'],
      ['a negative maxWaiting', { maxWaiting: -1 }, '"maxWaiting"'],
      ['a maxWaitMs of 0', { maxWaitMs: 0 }, '"maxWaitMs"'],
      ["p-queue's own options", { intervalCap: 5 }, '"intervalCap"'],
      ['a rate, which rateLimit limits', { rate: { limit: 5, intervalMs: 5 } }, '"rate"'],
    ])('refuses %s', (_, options, words) => {
      expect(() => queue(options as never)).toThrow(
        expect.objectContaining({
          code: 'CONFIG',
          layer: 'queue',
          message: expect.stringContaining(words),
        }),
      )
    })
  })

  it('says so when it is placed inside a pool', () => {
    expect(queue().hooks.outside).toMatchObject({ pool: expect.any(String) })
  })

  describe('for any pattern of arrivals, ends and aborts', () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constantFrom('value' as const, 'stream' as const),
          n: fc.integer({ min: -1, max: 1 }),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          kind: fc.constantFrom('end' as const, 'fail' as const, 'leave' as const),
          n: fc.nat(50),
        }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('abort' as const), n: fc.nat(50) }) },
    )

    interface Call {
      readonly id: number
      readonly priority: number
      readonly stream: boolean
      readonly caller: AbortController
      readonly work: Gate<unknown>
      readonly source: ReturnType<typeof driven<number>>
      result: ReturnType<typeof watch<unknown>>
    }

    it('never runs too many, loses none and keeps the order', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(step, { maxLength: 60, size: 'max' }),
          fc.integer({ min: 1, max: 3 }),
          fc.integer({ min: 0, max: 5 }),
          async (steps, concurrency, maxWaiting) => {
            const started: number[] = []
            const ask = stack(async (call: Call) => {
              started.push(call.id)
              if (!call.stream) return call.work.promise
              call.source.stream.log.push(0)
              return call.source.stream as unknown
            }, queue({ concurrency, maxWaiting }))
            const all: Call[] = []
            let running: Call[] = []
            let waiting: Call[] = []
            const expected: number[] = []
            let refused = 0
            const settleRunning = () => {
              while (running.length < concurrency && waiting.length > 0) {
                const next = waiting.toSorted((a, b) => b.priority - a.priority || a.id - b.id)[0]!
                waiting = waiting.filter((one) => one !== next)
                running.push(next)
                expected.push(next.id)
              }
            }
            for (const { kind, n } of [
              ...steps,
              ...steps.map(() => ({ kind: 'end' as const, n: 0 })),
            ]) {
              if (kind === 'value' || kind === 'stream') {
                const call = {
                  id: all.length,
                  priority: n,
                  stream: kind === 'stream',
                  caller: new AbortController(),
                  work: gate<unknown>(),
                  source: driven<number>(),
                } as Call
                all.push(call)
                call.result = watch(ask(call, { priority: n, signal: call.caller.signal }))
                if (running.length < concurrency) {
                  running.push(call)
                  expected.push(call.id)
                } else if (waiting.length < maxWaiting) waiting.push(call)
                else refused++
              } else if (kind === 'abort') {
                const call = all[n % Math.max(1, all.length)]
                call?.caller.abort(new Error('enough'))
                if (call && waiting.includes(call)) refused++
                waiting = waiting.filter((one) => one !== call)
                // A value's work heeds no signal, so it goes on; a stream ends with its caller.
                running = running.filter((one) => one !== call || !one.stream)
              } else {
                const call = running[n % Math.max(1, running.length)]
                if (call?.stream) {
                  if (kind === 'fail') call.source.stream.log.fail(new Error('broke'))
                  else await (call.result.value as AsyncGenerator<number>).return(undefined)
                } else if (kind === 'fail') call?.work.fail(new Error('broke'))
                else call?.work.open('done')
                running = running.filter((one) => one !== call)
              }
              settleRunning()
              await tick()
              expect(started).toEqual(expected)
              expect(ask.stats().queue).toMatchObject({
                running: running.length,
                waiting: waiting.length,
              })
            }
            const { completed, failed, rejected } = ask.stats().queue
            expect(ask.stats().queue).toMatchObject({ running: 0, waiting: 0 })
            expect(completed + failed).toBe(started.length)
            expect(rejected).toBe(refused)
            expect(started.length + rejected).toBe(all.length)
            expect(all.every(({ result }) => result.state !== 'pending')).toBe(true)
          },
        ),
        { numRuns: 30 },
      )
    })
  })

  describe('in front of a real upstream', () => {
    beforeEach(() => {
      vi.useRealTimers()
    })

    it('sends no second call before the stream of the first has ended', async () => {
      await using upstream = await startLocalBlossom({ concurrency: 1, words: 8, chunkDelayMs: 2 })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        queue({ concurrency: 1 }),
      )
      const first = await blossom.text.stream('one')
      const second = blossom.text.generate('two')
      for await (const _ of first) expect(upstream.requests).toHaveLength(1)
      await second
      const [one, two] = upstream.requests
      expect(one!.outcome).toBe('complete')
      expect(two!.at).toBeGreaterThanOrEqual(one!.endedAt!)
      expect(upstream.maxActive).toBe(1)
    })

    it('never meets the limit of a free account', async () => {
      await using upstream = await startLocalBlossom({ freeAccount: true })
      await using blossom = createBlossom({ apiKey: 'sk_test', baseURL: upstream.url }).use(
        queue({ concurrency: 1 }),
      )
      await Promise.all([
        ...Array.from({ length: 5 }, (_, i) => blossom.text.generate(`generate ${i}`)),
        ...Array.from({ length: 5 }, async (_, i) =>
          collect(await blossom.text.stream(`stream ${i}`)),
        ),
      ])
      expect(upstream.requests.map(({ status }) => status)).toEqual(
        Array.from({ length: 10 }, () => 200),
      )
    })
  })

  it('serves a stream that is read as it comes', async () => {
    const ask = stack(async () => numbers(100), queue({ concurrency: 1 }))
    for (let i = 0; i < 5; i++) expect(await collect(await ask())).toHaveLength(100)
    expect(ask.stats().queue).toMatchObject({ completed: 5, running: 0 })
  })
})
