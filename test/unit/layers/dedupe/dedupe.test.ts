import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { base, stack } from '../../../../src/core/index.js'
import { dedupe } from '../../../../src/layers/dedupe/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never, untilAborted } from '../../../support/gate.js'
import { left } from '../../../support/leaving.js'
import { scripted } from '../../../support/scripted.js'
import { catchWarningsInEachTest, named } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
const warnings = catchWarningsInEachTest()

describe('dedupe', () => {
  describe('values', () => {
    it('answers 50 identical calls with one request', async () => {
      const answer = gate<{ text: string }>()
      const ask = scripted<{ text: string }>(() => answer.promise)
      const shared = stack(ask, dedupe())
      const calls = Promise.all(Array.from({ length: 50 }, () => shared('q')))
      await tick()
      expect(shared.stats().dedupe).toEqual({
        joined: 49,
        elsewhere: 0,
        inFlight: 1,
        unkeyed: 0,
        oneShot: 0,
      })
      answer.open({ text: 'one' })
      const answers = await calls
      expect(ask.calls.length).toBe(1)
      expect(new Set(answers).size).toBe(1)
      expect(shared.stats().dedupe).toEqual({
        joined: 49,
        elsewhere: 0,
        inFlight: 0,
        unkeyed: 0,
        oneShot: 0,
      })
    })

    it("notes in a call's meta that it has joined another", async () => {
      const shared = stack(async () => 'answer', dedupe({ name: 'once' }))
      const [one, two] = [new Map<string, unknown>(), new Map<string, unknown>()]
      await Promise.all([shared('q', { meta: one }), shared('q', { meta: two })])
      expect(one.has('once')).toBe(false)
      expect(two.get('once')).toEqual({ joined: true })
    })

    it('keeps nothing: the next call after the answer asks again', async () => {
      const ask = scripted<string>('one', 'two')
      const shared = stack(ask, dedupe())
      expect([await shared('q'), await shared('q')]).toEqual(['one', 'two'])
    })

    it('keeps different requests apart', async () => {
      const ask = scripted<string>((request) => request)
      const shared = stack(ask, dedupe())
      expect(await Promise.all([shared('a'), shared('b'), shared('a')])).toEqual(['a', 'b', 'a'])
      expect(ask.calls.length).toBe(2)
    })

    it('never shares between tenants, nor with calls without a tenant', async () => {
      const ask = scripted<string>((_, { tenant }) => `for ${tenant}`)
      const shared = stack(ask, dedupe())
      const answers = await Promise.all([
        shared('q'),
        shared('q', { tenant: 'a' }),
        shared('q', { tenant: 'b' }),
        shared('q', { tenant: 'undefined' }),
        shared('q', { tenant: 'a' }),
      ])
      expect(answers).toEqual(['for undefined', 'for a', 'for b', 'for undefined', 'for a'])
      expect(ask.calls.length).toBe(4)
    })

    it('keeps a reload apart from calls that accept a stored answer, and bypasses no-store calls', async () => {
      const ask = scripted<string>((_, { cache }) => cache)
      const shared = stack(ask, dedupe())
      const modes = [undefined, 'reload', 'no-store', 'no-store', 'reload', 'default'] as const
      const answers = await Promise.all(modes.map((cache) => shared('q', { cache })))
      expect(answers).toEqual(['default', 'reload', 'no-store', 'no-store', 'reload', 'default'])
      expect(ask.calls.length).toBe(4)
    })

    it('bypasses calls without an identity, and counts them', async () => {
      const ask = scripted<string, { at: Date }>('answer')
      const shared = stack(ask, dedupe())
      await Promise.all([shared({ at: new Date(0) }), shared({ at: new Date(0) })])
      expect(ask.calls.length).toBe(2)
      expect(shared.stats().dedupe).toEqual({
        joined: 0,
        elsewhere: 0,
        inFlight: 0,
        unkeyed: 2,
        oneShot: 0,
      })
    })

    it.each([
      ['throws', () => fail(), ['dedupe: key() threw KeyMishap. The call continued.']],
      ['gives no string', () => null as never, []],
    ])('bypasses the call when key() %s', async (_, key, warned) => {
      const ask = scripted<string>('answer')
      const shared = stack(base(ask, { key }), dedupe())
      await Promise.all([shared('q'), shared('q')])
      expect(ask.calls.length).toBe(2)
      expect(shared.stats().dedupe.unkeyed).toBe(2)
      expect(warnings).toEqual(warned)
    })

    it('freezes what is shared, and copies bytes for each caller', async () => {
      const shared = stack(async () => ({ list: [1], bytes: Buffer.from([1, 2]) }), dedupe())
      const [one, two] = await Promise.all([shared('q'), shared('q')])
      expect(Object.isFrozen(one)).toBe(true)
      expect(Object.isFrozen(one.list)).toBe(true)
      one.bytes[0] = 9
      expect([...two.bytes]).toEqual([1, 2])
    })

    it('shares a failure, once, and tries again with the next call', async () => {
      const error = new Error('on purpose')
      const ask = scripted<string>(error, error, error, 'better')
      const shared = stack(ask, dedupe(), retry({ retries: 2, minDelayMs: 0 }))
      const calls = Array.from({ length: 20 }, () => failure(shared('q')))
      await tick(10)
      expect(new Set(await Promise.all(calls))).toEqual(new Set([error]))
      expect(ask.calls.length).toBe(3)
      expect(await shared('q')).toBe('better')
    })

    it('shares an error that the base throws synchronously', async () => {
      const shared = stack((): Promise<string> => {
        throw new Error('at once')
      }, dedupe())
      const errors = await Promise.all([failure(shared('q')), failure(shared('q'))])
      expect(errors).toEqual([new Error('at once'), new Error('at once')])
      expect(shared.stats().dedupe.inFlight).toBe(0)
    })
  })

  describe('leaving', () => {
    it('lets the leader leave without failing the others', async () => {
      const answer = gate<string>()
      const ask = scripted<string>(() => answer.promise)
      const shared = stack(ask, dedupe())
      const caller = new AbortController()
      const leader = failure(shared('q', { signal: caller.signal }))
      const follower = shared('q')
      caller.abort(left())
      expect(await leader).toBe(caller.signal.reason)
      expect(ask.calls[0]!.context.signal.aborted).toBe(false)
      answer.open('answer')
      expect(await follower).toBe('answer')
    })

    it("aborts the work with the last caller's reason when all have left, and starts over for the next call", async () => {
      const ask = scripted<string>(untilAborted, 'anew')
      const shared = stack(ask, dedupe())
      const callers = [new AbortController(), new AbortController(), new AbortController()]
      const calls = callers.map(({ signal }) => failure(shared('q', { signal })))
      callers[0]!.abort(left())
      callers[2]!.abort(left())
      expect(ask.calls[0]!.context.signal.aborted).toBe(false)
      callers[1]!.abort(left())
      expect(ask.calls[0]!.context.signal.reason).toBe(callers[1]!.signal.reason)
      expect(await shared('q')).toBe('anew')
      expect(await Promise.all(calls)).toEqual(callers.map(({ signal }) => signal.reason))
      expect(shared.stats().dedupe).toMatchObject({ joined: 2, inFlight: 0 })
    })

    it('starts over even if the work that everybody left ignores its signal', async () => {
      const ask = scripted<string>(() => never(), 'anew')
      const shared = stack(ask, dedupe())
      const caller = new AbortController()
      const gone = failure(shared('q', { signal: caller.signal }))
      caller.abort(left())
      await gone
      expect(await shared('q')).toBe('anew')
    })

    it('leaves no listener on a signal that outlives the calls', async () => {
      const shared = stack(async () => 'answer', dedupe())
      const { signal } = new AbortController()
      const calls = Array.from({ length: 20 }, () => shared('q', { signal }))
      expect(getEventListeners(signal, 'abort').length).toBe(1)
      await Promise.all(calls)
      expect(getEventListeners(signal, 'abort').length).toBe(0)
    })
  })

  describe('context', () => {
    it('knows its deadline before the work begins, and moves it to the latest of the callers still there', async () => {
      const seen: number[] = []
      const ask = scripted<never>((_, context) => {
        seen.push(context.deadline)
        return untilAborted(_, context)
      })
      const shared = stack(ask, dedupe())
      const start = performance.now()
      const [second, third] = [new AbortController(), new AbortController()]
      const calls = [
        failure(shared('q', { timeoutMs: 1_000 })),
        failure(shared('q', { timeoutMs: 3_000, signal: second.signal })),
        failure(shared('q', { signal: third.signal })),
      ]
      const { context } = ask.calls[0]!
      expect(seen).toEqual([start + 1_000])
      expect(context.deadline).toBe(Number.POSITIVE_INFINITY)
      third.abort()
      expect(context.deadline).toBe(start + 3_000)
      second.abort()
      expect(context.deadline).toBe(start + 1_000)
      await tick(1_000)
      expect(context.signal.reason).toMatchObject({ code: 'TIMEOUT' })
      await Promise.all(calls)
    })

    it('ends each caller at its own deadline', async () => {
      const answer = gate<string>()
      const shared = stack(() => answer.promise, dedupe())
      const [short, long] = [
        watch(shared('q', { timeoutMs: 100 })),
        watch(shared('q', { timeoutMs: 1_000 })),
      ]
      await tick(100)
      expect(short.error).toMatchObject({ code: 'TIMEOUT' })
      answer.open('answer')
      await tick()
      expect(long.value).toBe('answer')
    })

    it('copies the notes made inside to every caller, also with a failure', async () => {
      const ask = scripted<string>(
        (_, { meta }) => {
          meta.set('note', 1)
          return 'answer'
        },
        (_, { meta }) => {
          meta.set('note', 2)
          throw new Error('on purpose')
        },
      )
      const shared = stack(ask, dedupe())
      const metas = Array.from({ length: 3 }, () => new Map<string, unknown>())
      const callAll = () => Promise.allSettled(metas.map((meta) => shared('q', { meta })))
      await callAll()
      expect(metas.map((meta) => meta.get('note'))).toEqual([1, 1, 1])
      await callAll()
      expect(metas.map((meta) => meta.get('note'))).toEqual([2, 2, 2])
      expect(ask.calls[0]!.context.meta).not.toBe(metas[0])
    })

    it("keeps each caller's own async context, and runs the work in the first caller's", async () => {
      const storage = new AsyncLocalStorage<number>()
      const inside: unknown[] = []
      async function* words() {
        inside.push(storage.getStore())
        yield 'a'
        yield 'b'
      }
      const shared = stack(async () => words(), dedupe())
      const after = await Promise.all(
        [1, 2, 3].map((n) =>
          storage.run(n, async () => {
            const stores: unknown[] = []
            for await (const _ of await shared('q')) stores.push(storage.getStore())
            return [...stores, storage.getStore()]
          }),
        ),
      )
      expect(inside).toEqual([1])
      expect(after).toEqual([
        [1, 1, 1],
        [2, 2, 2],
        [3, 3, 3],
      ])
    })

    it('does not mix up two stacks that share it', async () => {
      const shared = dedupe()
      const one = stack(async (q: string) => `one ${q}`, shared)
      const two = stack(async (q: string) => `two ${q}`, shared)
      expect(await Promise.all([one('q'), two('q'), one('q')])).toEqual(['one q', 'two q', 'one q'])
      expect(one.stats().dedupe).toEqual({
        joined: 1,
        elsewhere: 0,
        inFlight: 0,
        unkeyed: 0,
        oneShot: 0,
      })
    })
  })

  it('takes no options but its name', () => {
    expect(() => dedupe({ ttlMs: 5 } as never)).toThrow(
      expect.objectContaining({ code: 'CONFIG', layer: 'dedupe' }),
    )
    expect(dedupe({ name: 'once' }).name).toBe('once')
  })
})

function fail(): never {
  throw named('KeyMishap')
}

it('dedupe joins equal requests of any length, and no others', async () => {
  let calls = 0
  const ask = stack(
    async (request: string) => ({ calls: ++calls, length: request.length }),
    dedupe(),
  )
  const long = 'x'.repeat(50_000)
  const answers = await Promise.all([ask(long), ask(long), ask(`${long}y`), ask(`y${long}`)])
  expect(calls).toBe(3)
  expect(answers[1]).toBe(answers[0])
})
