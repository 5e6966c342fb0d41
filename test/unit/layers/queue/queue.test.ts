import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, it } from 'vitest'
import { stack } from '../../../../src/core/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { configError } from '../../../support/config-error.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { type Gate, gate } from '../../../support/gate.js'
import { heldQueue } from '../../../support/held-queue.js'
import { throwing } from '../../../support/scripted.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

describe('queue', () => {
  it('runs as many calls as it has slots and makes the others wait', async () => {
    const { call, end, started, stats } = heldQueue({ concurrency: 2 })
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

  it('has 5 slots, 1000 places and no maximum wait by default', async () => {
    const { ask, call, started, stats, works } = heldQueue()
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

  it('starts a call synchronously when it need not wait', () => {
    const { call, started } = heldQueue()
    call('a')
    expect(started).toEqual(['a'])
  })

  it('counts failures and passes the slot on', async () => {
    const { call, works, end, stats } = heldQueue({ concurrency: 1 })
    const [a, b] = [call('a'), call('b')]
    const error = new Error('from upstream')
    works.get('a')!.fail(error)
    await tick()
    expect(a.error).toBe(error)
    await end('b')
    expect(b.value).toBe('answer to b')
    expect(stats()).toMatchObject({ completed: 1, failed: 1, rejected: 0 })
  })

  it('passes the slot on when the work throws synchronously', async () => {
    const ask = stack(throwing, queue({ concurrency: 1 }))
    for (let i = 0; i < 3; i++) expect(await failure(ask())).toMatchObject({ message: 'at once' })
    expect(ask.stats().queue).toMatchObject({ running: 0, failed: 3 })
  })

  describe('the order', () => {
    it('is that of arrival', async () => {
      const { call, end, started } = heldQueue({ concurrency: 1 })
      for (const request of ['a', 'b', 'c', 'd']) call(request)
      for (const request of ['a', 'b', 'c', 'd']) await end(request)
      expect(started).toEqual(['a', 'b', 'c', 'd'])
    })

    it('puts larger priorities first and follows arrival within each priority', async () => {
      const { call, end, started } = heldQueue({ concurrency: 1 })
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

    it('lets no new call overtake waiting calls, even as a slot becomes free', async () => {
      const { works, call, started } = heldQueue({ concurrency: 1 })
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

  describe('when it is full', () => {
    it('rejects immediately without making a call', async () => {
      const { ask, call, end, started, stats } = heldQueue({ concurrency: 1, maxWaiting: 1 })
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

    it('lets no call wait when maxWaiting is 0', async () => {
      const { ask, call, end } = heldQueue({ concurrency: 1, maxWaiting: 0 })
      call('a')
      expect(await failure(ask('b'))).toMatchObject({ code: 'QUEUE_FULL', limit: 0 })
      await end('a')
      const c = call('c')
      await end('c')
      expect(c.state).toBe('resolved')
    })

    it('says when a place may be free, once it knows how long a call takes', async () => {
      const { ask, call, end } = heldQueue({ concurrency: 2, maxWaiting: 2 })
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

    it('has a place again after a waiting call leaves', async () => {
      const { call, end } = heldQueue({ concurrency: 1, maxWaiting: 1 })
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
    it('ends waiting calls at once and lets the running one finish', async () => {
      const { ask, call, end, started } = heldQueue({ concurrency: 1 })
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
      expect(() => queue(options as never)).toThrow(configError(words, 'queue'))
    })
  })

  it('warns when it is placed inside a pool', () => {
    expect(queue().hooks.outside).toMatchObject({ pool: expect.any(String) })
  })
})
