import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { createBlossom } from '../../../../src/client/index.js'
import { base, collect, isStackError, onEnd, stack } from '../../../../src/core/index.js'
import { dedupe } from '../../../../src/layers/dedupe/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { timeout } from '../../../../src/layers/timeout.js'
import { startLocalBlossom } from '../../../../src/testing/index.js'
import { dedupedStream } from '../../../support/deduped.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { spy } from '../../../support/layers.js'
import { left } from '../../../support/leaving.js'
import { driven, numbers } from '../../../support/streams.js'
import { failure, turn, watch } from '../../../support/watch.js'

useFakeTimers()

describe('dedupe', () => {
  describe('streams', () => {
    it('gives every reader the whole stream, including what passed before a late one joined', async () => {
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
      await tick()
      expect(waiting.map(({ value }) => value?.value)).toEqual([undefined, 'b', undefined])
      stream.log.push('c')
      stream.log.end()
      await tick()
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

    it('starts over when the stream has ended, even if readers are still behind', async () => {
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
      await tick()
      expect(sources[0]!.pulls).toBe(0)
      const both = [one.next(), two.next()]
      expect(sources[0]!.pulls).toBe(1)
      sources[0]!.stream.log.push('a')
      await Promise.all(both)
      expect(sources[0]!.pulls).toBe(1)
      await one.return(undefined)
      await two.return(undefined)
    })

    it('shares the failure of a stream after its chunks, and then starts over', async () => {
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
      const outer: unknown[] = []
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

    it('lets a reader leave without affecting the others', async () => {
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

    it('stops reading the source when the last reader breaks off', async () => {
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

    it('does not wait for a reader who never starts reading', async () => {
      const ask = stack(
        base(async () => numbers(2), { unreadMs: 500 }),
        dedupe(),
      )
      const [lazy, eager] = await Promise.all([ask('q'), ask('q')])
      expect(await collect(eager)).toEqual([0, 1])
      await tick(500)
      expect(await failure(lazy.next())).toMatchObject({ code: 'TIMEOUT', phase: 'read' })
    })

    it('ends the work when nobody ever begins to read', async () => {
      const source = driven<number>({ committed: true })
      const ask = stack(
        base(async (_: string) => source.stream, { unreadMs: 500 }),
        dedupe(),
      )
      const readers = await Promise.all([ask('q'), ask('q')])
      await tick(500)
      expect(source.stops.length).toBe(1)
      expect(ask.stats().dedupe.inFlight).toBe(0)
      for (const reader of readers) await failure(reader.next())
    })

    it('frees the slot of a complete but unread stream when the inner time limit is over', async () => {
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
      await tick(99)
      expect(ask.stats()).toMatchObject({ queue: { running: 1 }, dedupe: { inFlight: 1 } })
      await tick(1)
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
      await tick()
      expect(closed.state).toBe('pending')
      sources[0]!.stream.log.end()
      expect(await Promise.all(readers.map((reader) => collect(reader)))).toEqual([['a'], ['a']])
      await tick()
      expect(closed.state).toBe('resolved')
    })

    it('cuts a stream that outlasts the closing', async () => {
      const { ask, contexts } = dedupedStream()
      const readers = await Promise.all([ask('q'), ask('q')])
      const ended = readers.map((reader) => failure(reader.next()))
      const closed = ask.close({ timeoutMs: 100 })
      await tick(100)
      await closed
      for (const error of await Promise.all(ended)) expect(isStackError(error, 'CLOSED')).toBe(true)
      expect(contexts[0]!.signal.aborted).toBe(true)
    })
  })

  it('gives every reader a prefix of the stream, and all of it to those who stay, for any joins, reads and leaves', async () => {
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
            await tick()
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
