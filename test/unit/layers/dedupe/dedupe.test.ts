import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createBlossom } from '../../../../src/client/index.js'
import {
  base,
  type Context,
  collect,
  isStackError,
  onEnd,
  type StreamEnd,
  stack,
} from '../../../../src/core/index.js'
import { dedupe } from '../../../../src/layers/dedupe/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { timeout } from '../../../../src/layers/timeout.js'
import { startLocalBlossom } from '../../../../src/testing/index.js'
import { dedupedStream } from '../../../support/deduped.js'
import { gate, never } from '../../../support/gate.js'
import { spy } from '../../../support/layers.js'
import { scripted } from '../../../support/scripted.js'
import { driven, numbers } from '../../../support/streams.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure, turn, watch } from '../../../support/watch.js'

let warnings: string[]

beforeEach(() => {
  vi.useFakeTimers()
  warnings = catchWarnings()
})

afterEach(() => {
  if (vi.isFakeTimers()) expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const flush = () => vi.advanceTimersByTimeAsync(0)
const left = () => new Error('the caller has left')

/** A base that ends with its signal's reason and not before. */
const heeding = (_: unknown, { signal }: Context): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

describe('dedupe', () => {
  describe('values', () => {
    it('answers 50 identical calls with one', async () => {
      const answer = gate<{ text: string }>()
      const ask = scripted<{ text: string }>(() => answer.promise)
      const shared = stack(ask, dedupe())
      const calls = Promise.all(Array.from({ length: 50 }, () => shared('q')))
      await flush()
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

    it('tells a call by its meta that it has joined another', async () => {
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

    it('never shares between tenants, nor with calls that have none', async () => {
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

    it('keeps a reload apart from calls that may have a stored answer, and passes no-store by', async () => {
      const ask = scripted<string>((_, { cache }) => cache)
      const shared = stack(ask, dedupe())
      const modes = [undefined, 'reload', 'no-store', 'no-store', 'reload', 'default'] as const
      const answers = await Promise.all(modes.map((cache) => shared('q', { cache })))
      expect(answers).toEqual(['default', 'reload', 'no-store', 'no-store', 'reload', 'default'])
      expect(ask.calls.length).toBe(4)
    })

    it('passes by what has no identity, and counts it', async () => {
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
      ['throws', () => fail(), ['dedupe: key() threw KeyMishap; the call went on.']],
      ['gives no string', () => null as never, []],
    ])('passes by when key() %s', async (_, key, warned) => {
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
      await vi.advanceTimersByTimeAsync(10)
      expect(new Set(await Promise.all(calls))).toEqual(new Set([error]))
      expect(ask.calls.length).toBe(3)
      expect(await shared('q')).toBe('better')
    })

    it('shares what a base throws without a promise', async () => {
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

    it('aborts the work when the last has left, with his reason, and begins anew for who comes then', async () => {
      const ask = scripted<string>(heeding, 'anew')
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

    it('begins anew although the work that everybody left heeds no signal', async () => {
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
    it('knows its deadline before the work begins, and moves it to the latest of those still there', async () => {
      const seen: number[] = []
      const ask = scripted<never>((_, context) => {
        seen.push(context.deadline)
        return heeding(_, context)
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
      await vi.advanceTimersByTimeAsync(1_000)
      expect(context.signal.reason).toMatchObject({ code: 'TIMEOUT' })
      await Promise.all(calls)
    })

    it('ends each caller at his own deadline', async () => {
      const answer = gate<string>()
      const shared = stack(() => answer.promise, dedupe())
      const [short, long] = [
        watch(shared('q', { timeoutMs: 100 })),
        watch(shared('q', { timeoutMs: 1_000 })),
      ]
      await vi.advanceTimersByTimeAsync(100)
      expect(short.error).toMatchObject({ code: 'TIMEOUT' })
      answer.open('answer')
      await flush()
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

    it("keeps each caller's own async context, and runs the work in the first one's", async () => {
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

    it('does not mix two stacks that share it', async () => {
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

  describe('streams', () => {
    it('gives everybody the whole stream, late ones first what has passed', async () => {
      const { ask, sources } = dedupedStream()
      const first = await ask('q')
      const { stream } = sources[0]!
      stream.log.push('a')
      expect(await first.next()).toEqual({ done: false, value: 'a' })
      stream.log.push('b')
      const late = await ask('q')
      expect(await late.next()).toEqual({ done: false, value: 'a' })
      expect(await late.next()).toEqual({ done: false, value: 'b' })
      const waiting = [watch(late.next()), watch(first.next()), watch(first.next())]
      await flush()
      expect(waiting.map(({ value }) => value?.value)).toEqual([undefined, 'b', undefined])
      stream.log.push('c')
      stream.log.end()
      await flush()
      expect(waiting.map(({ value }) => value?.value)).toEqual(['c', 'b', 'c'])
      expect(await late.next()).toEqual({ done: true, value: undefined })
      expect(await first.next()).toEqual({ done: true, value: undefined })
      expect(sources.length).toBe(1)
      expect(ask.stats().dedupe).toEqual({
        joined: 1,
        elsewhere: 0,
        inFlight: 0,
        unkeyed: 0,
        oneShot: 0,
      })
    })

    it('begins anew when the stream has ended, although readers are still behind', async () => {
      const { ask, sources } = dedupedStream()
      const [fast, slow] = await Promise.all([ask('q'), ask('q')])
      sources[0]!.stream.log.push('a')
      sources[0]!.stream.log.end()
      expect(await collect(fast)).toEqual(['a'])
      const next = await ask('q')
      expect(sources.length).toBe(2)
      expect(await collect(slow)).toEqual(['a'])
      await next.return(undefined)
    })

    it('pulls the source only when a reader wants more', async () => {
      const { ask, sources } = dedupedStream()
      const [one, two] = await Promise.all([ask('q'), ask('q')])
      await flush()
      expect(sources[0]!.pulls).toBe(0)
      const both = [one.next(), two.next()]
      expect(sources[0]!.pulls).toBe(1)
      sources[0]!.stream.log.push('a')
      await Promise.all(both)
      expect(sources[0]!.pulls).toBe(1)
      await one.return(undefined)
      await two.return(undefined)
    })

    it('shares the failure of a stream, behind the chunks, and begins anew', async () => {
      const { ask, sources, ends } = dedupedStream()
      const [one, two] = await Promise.all([ask('q'), ask('q')])
      const error = new Error('broken')
      sources[0]!.stream.log.push('a')
      await one.next()
      const waiting = failure(one.next())
      sources[0]!.stream.log.fail(error)
      expect(await waiting).toBe(error)
      expect(await two.next()).toEqual({ done: false, value: 'a' })
      expect(await failure(two.next())).toBe(error)
      expect(await two.next()).toEqual({ done: true, value: undefined })
      expect(ends).toEqual([{ outcome: 'failed', error }])
      const anew = await ask('q')
      expect(sources.length).toBe(2)
      await anew.return(undefined)
    })

    it('freezes chunks and copies bytes for each reader', async () => {
      const { ask, sources } = dedupedStream()
      const readers = await Promise.all([ask('q'), ask('q')])
      sources[0]!.stream.log.push({ choices: [{ delta: 'a' }] })
      sources[0]!.stream.log.push(Buffer.from([1]))
      sources[0]!.stream.log.end()
      const [one, two] = (await Promise.all(readers.map((reader) => collect(reader)))) as [
        { choices: object[] },
        Buffer,
      ][]
      expect(Object.isFrozen(one![0])).toBe(true)
      expect(Object.isFrozen(one![0].choices[0])).toBe(true)
      one![1][0] = 9
      expect([...two![1]]).toEqual([1])
    })

    it('ends each reader as the source did', async () => {
      const outer: StreamEnd[] = []
      const seen = spy('seen')
      const source = driven<string>({ committed: true })
      const ask = stack(
        async (_: string) => source.stream,
        (next) => async (request, context) =>
          onEnd(await next(request, context), (end) => outer.push(end)),
        dedupe(),
        seen,
      )
      const readers = await Promise.all([ask('q'), ask('q')])
      source.stream.log.push('a')
      source.stream.log.end({ outcome: 'complete', cacheable: false })
      await Promise.all(readers.map((reader) => collect(reader)))
      expect(outer).toEqual([
        { outcome: 'complete', cacheable: false },
        { outcome: 'complete', cacheable: false },
      ])
    })

    it('lets a reader leave by himself', async () => {
      const { ask, sources, contexts } = dedupedStream()
      const caller = new AbortController()
      const [leader, follower, third] = await Promise.all([
        ask('q', { signal: caller.signal }),
        ask('q'),
        ask('q'),
      ])
      sources[0]!.stream.log.push('a')
      await leader.next()
      const waiting = failure(leader.next())
      caller.abort(left())
      expect(await waiting).toBe(caller.signal.reason)
      await third.return(undefined)
      expect(contexts[0]!.signal.aborted).toBe(false)
      expect(sources[0]!.stops).toEqual([])
      sources[0]!.stream.log.push('b')
      sources[0]!.stream.log.end()
      expect(await collect(follower)).toEqual(['a', 'b'])
    })

    it('leaves the source, as its reader, when the last reader breaks off', async () => {
      const { ask, sources, ends } = dedupedStream()
      const readers = await Promise.all([ask('q'), ask('q')])
      sources[0]!.stream.log.push('a')
      for (const reader of readers) for await (const _ of reader) break
      expect(sources[0]!.stops).toEqual([undefined])
      expect(ends).toEqual([{ outcome: 'left' }])
      expect(ask.stats().dedupe.inFlight).toBe(0)
      const anew = await ask('q')
      expect(sources.length).toBe(2)
      await anew.return(undefined)
      await ask.close()
    })

    it("aborts the work when the last reader's caller aborts", async () => {
      const { ask, sources, contexts, ends } = dedupedStream()
      const callers = [new AbortController(), new AbortController()]
      const readers = await Promise.all(callers.map(({ signal }) => ask('q', { signal })))
      for (const caller of callers) caller.abort(left())
      const reason = callers[1]!.signal.reason
      expect(contexts[0]!.signal.reason).toBe(reason)
      expect(sources[0]!.stops).toEqual([reason])
      expect(ends).toEqual([{ outcome: 'failed', error: reason }])
      for (const reader of readers) await failure(reader.next())
      await ask.close()
    })

    it('does not wait for a reader who never begins', async () => {
      const ask = stack(
        base(async () => numbers(2), { unreadMs: 500 }),
        dedupe(),
      )
      const [lazy, eager] = await Promise.all([ask('q'), ask('q')])
      expect(await collect(eager)).toEqual([0, 1])
      await vi.advanceTimersByTimeAsync(500)
      expect(await failure(lazy.next())).toMatchObject({ code: 'TIMEOUT', phase: 'read' })
    })

    it('ends the work when nobody ever begins to read', async () => {
      const source = driven<number>({ committed: true })
      const ask = stack(
        base(async (_: string) => source.stream, { unreadMs: 500 }),
        dedupe(),
      )
      const readers = await Promise.all([ask('q'), ask('q')])
      await vi.advanceTimersByTimeAsync(500)
      expect(source.stops.length).toBe(1)
      expect(ask.stats().dedupe.inFlight).toBe(0)
      for (const reader of readers) await failure(reader.next())
    })

    it('frees the slot of a complete stream that nobody reads when the time inside is over', async () => {
      const source = driven<string>({ committed: true })
      const ask = stack(
        async (_: string) => source.stream,
        dedupe(),
        timeout({ streamMs: 100 }),
        queue({ concurrency: 1 }),
      )
      const readers = await Promise.all([ask('q'), ask('q')])
      source.stream.log.push('a')
      source.stream.log.end()
      await vi.advanceTimersByTimeAsync(99)
      expect(ask.stats()).toMatchObject({ queue: { running: 1 }, dedupe: { inFlight: 1 } })
      await vi.advanceTimersByTimeAsync(1)
      expect(ask.stats()).toMatchObject({ queue: { running: 0 }, dedupe: { inFlight: 0 } })
      for (const reader of readers) {
        expect(await reader.next()).toEqual({ done: false, value: 'a' })
        expect(await failure(reader.next())).toMatchObject({ code: 'TIMEOUT', ms: 100 })
      }
    })

    it('lets a stream that many read finish when the stack closes', async () => {
      const { ask, sources } = dedupedStream()
      const readers = await Promise.all([ask('q'), ask('q')])
      const closed = watch(ask.close())
      sources[0]!.stream.log.push('a')
      await flush()
      expect(closed.state).toBe('pending')
      sources[0]!.stream.log.end()
      expect(await Promise.all(readers.map((reader) => collect(reader)))).toEqual([['a'], ['a']])
      await flush()
      expect(closed.state).toBe('resolved')
    })

    it('cuts what outlasts the closing', async () => {
      const { ask, contexts } = dedupedStream()
      const readers = await Promise.all([ask('q'), ask('q')])
      const ended = readers.map((reader) => failure(reader.next()))
      const closed = ask.close({ timeoutMs: 100 })
      await vi.advanceTimersByTimeAsync(100)
      await closed
      for (const error of await Promise.all(ended)) expect(isStackError(error, 'CLOSED')).toBe(true)
      expect(contexts[0]!.signal.aborted).toBe(true)
    })
  })

  it('gives every reader a prefix of the stream, and all of it unless he left: any joins, reads and leaves', async () => {
    const action = fc.oneof(
      { weight: 3, arbitrary: fc.record({ do: fc.constant('push' as const) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('join' as const) }) },
      { weight: 4, arbitrary: fc.record({ do: fc.constant('read' as const), who: fc.nat(5) }) },
      {
        weight: 1,
        arbitrary: fc.record({
          do: fc.constantFrom('break' as const, 'abort' as const),
          who: fc.nat(5),
        }),
      },
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(action, { maxLength: 40 }),
        fc.boolean(),
        async (actions, fails) => {
          const { ask, sources, ends } = dedupedStream()
          const readers: {
            of: number
            got: unknown[]
            errors: unknown[]
            left: boolean
            stream: AsyncGenerator<unknown>
            caller: AbortController
            reads: Promise<unknown>[]
          }[] = []
          const pushed: number[] = []
          const read = (reader: (typeof readers)[number]) => {
            reader.reads.push(
              reader.stream.next().then(
                ({ done, value }) => void (done || reader.got.push(value)),
                (error: unknown) => reader.errors.push(error),
              ),
            )
          }
          for (const step of actions) {
            if (step.do === 'join') {
              const caller = new AbortController()
              const stream = await ask('q', { signal: caller.signal })
              readers.push({
                of: sources.length - 1,
                got: [],
                errors: [],
                left: false,
                stream,
                caller,
                reads: [],
              })
            } else if (step.do === 'push') {
              const of = sources.length - 1
              if (of < 0 || sources[of]!.stream.ended) continue
              pushed[of] = (pushed[of] ?? 0) + 1
              sources[of]!.stream.log.push(pushed[of])
            } else {
              const reader = readers[step.who]
              if (reader === undefined || reader.left) continue
              if (step.do === 'read') read(reader)
              else {
                reader.left = true
                if (step.do === 'break') await reader.stream.return(undefined)
                else reader.caller.abort(left())
              }
            }
            await flush()
          }
          const error = new Error('broken')
          for (const { stream } of sources) fails ? stream.log.fail(error) : stream.log.end()
          for (const reader of readers) {
            await Promise.all(reader.reads)
            const whole = Array.from({ length: pushed[reader.of] ?? 0 }, (_, i) => i + 1)
            if (!reader.left) {
              try {
                for await (const chunk of reader.stream) reader.got.push(chunk)
              } catch (thrown) {
                reader.errors.push(thrown)
              }
              expect(reader.errors).toEqual(
                sources[reader.of]!.stream.ended?.outcome === 'failed' ? [error] : [],
              )
              expect(reader.got).toEqual(whole)
            }
            expect(reader.got).toEqual(whole.slice(0, reader.got.length))
          }
          expect(ends.length).toBe(sources.length)
          expect(ask.stats().dedupe.inFlight).toBe(0)
          await ask.close()
        },
      ),
      { numRuns: 200 },
    )
  })

  it('takes no options but its name', () => {
    expect(() => dedupe({ ttlMs: 5 } as never)).toThrow(
      expect.objectContaining({ code: 'CONFIG', layer: 'dedupe' }),
    )
    expect(dedupe({ name: 'once' }).name).toBe('once')
  })

  it('shares one chat stream of the client, but not with one of other options, nor with a plain call', async () => {
    vi.useRealTimers()
    await using upstream = await startLocalBlossom({ coalesce: false, latencyMs: 20 })
    await using blossom = createBlossom({ baseURL: upstream.url, apiKey: 'sk_test' }).use(dedupe())
    const messages = [{ role: 'user' as const, content: 'Hello' }]
    const text = async (body: object = {}) => {
      const chunks = await collect(await blossom.chat.stream({ messages, ...body }))
      return chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')
    }
    const texts = await Promise.all([
      text(),
      text(),
      text(),
      text({ stream_options: { include_usage: true } }),
    ])
    expect(new Set(texts).size).toBe(1)
    expect(upstream.requests.length).toBe(2)
    await Promise.all([text(), blossom.chat.create({ messages })])
    expect(upstream.requests.length).toBe(4)
    await turn()
    expect(blossom.stats().dedupe).toMatchObject({ joined: 2, inFlight: 0 })
  })
})

function fail(): never {
  throw named('KeyMishap')
}

it('joins equal requests of any length, and no others', async () => {
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
