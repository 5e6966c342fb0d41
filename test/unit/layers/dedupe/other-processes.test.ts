import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import {
  base,
  type Context,
  collect,
  type Handler,
  StackError,
  sleep,
  stack,
} from '../../../../src/core/index.js'
import { MemoryLogs } from '../../../../src/gateway/streams/memory-logs.js'
import { dedupe } from '../../../../src/layers/dedupe/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { LogProcess } from '../../../support/log-process.js'
import { onlyShared } from '../../../support/only-shared.js'
import { failure } from '../../../support/watch.js'

// The logs keep for a while what has ended.
useFakeTimers({ atEnd: () => vi.runOnlyPendingTimers() })

/** Logs that several processes have together, and a way to make stacks in each of them. */
function processes() {
  const logs = new MemoryLogs()
  return {
    /** One more process with a stack around `fn`, and what the calls there are told. */
    join<Answer>(fn: (request: string, context: Context) => Promise<Answer>) {
      const process = new LogProcess(logs)
      const shared = onlyShared({
        logs: () => process,
      })
      const notes: unknown[] = []
      const noted =
        <R, A>(next: Handler<R, A>): Handler<R, A> =>
        async (request, context) => {
          const given = await next(request, context)
          notes.push(context.meta.get('dedupe'))
          return given
        }
      const ask = stack(base(fn, { name: 'ask' }), noted, dedupe({ shared }))
      return { process, ask, notes }
    },
  }
}

/** A function whose answers come when a test says so. */
function held<Answer>() {
  const asked: { answer(value: Answer): void; fail(error: unknown): void }[] = []
  const fn = (_: string) =>
    new Promise<Answer>((resolve, reject) => {
      asked.push({ answer: resolve, fail: reject })
    })
  return { asked, fn }
}

/** Two processes that ask the same at the same time. */
async function both<Answer>() {
  const { join } = processes()
  const { asked, fn } = held<Answer>()
  const [one, two] = [join(fn), join(fn)]
  const first = one.ask('q')
  await tick()
  const second = two.ask('q')
  await tick()
  expect(asked).toHaveLength(1)
  return { asked, one, two, first, second }
}

describe('identical calls from several processes', () => {
  it.each([
    ['JSON', { text: 'Hi', list: [1, null, { deep: true }] }],
    ['what JSON cannot say', { none: undefined, zero: -0, far: Number.POSITIVE_INFINITY }],
    ['bytes', { bytes: Buffer.from([1, 2, 3]) }],
    ['text', 'Hi'],
    ['nothing', undefined],
  ])('share one answer: %s', async (_, answer) => {
    const { asked, one, two, first, second } = await both<unknown>()
    asked[0]!.answer(answer)
    expect(await first).toStrictEqual(answer)
    expect(await second).toStrictEqual(answer)
    expect(two.ask.stats().dedupe).toMatchObject({ elsewhere: 1, joined: 0, inFlight: 0 })
    expect([one.notes, two.notes]).toEqual([[undefined], [{ joined: true, elsewhere: true }]])
  })

  it('each make their own when the answer can be read only once', async () => {
    const { asked, first, second } = await both<Response>()
    asked[0]!.answer(new Response('one'))
    expect(await (await first).text()).toBe('one')
    await tick()
    expect(asked).toHaveLength(2)
    asked[1]!.answer(new Response('two'))
    expect(await (await second).text()).toBe('two')
  })

  it('each make their own when the answer cannot be written', async () => {
    const { asked, first, second } = await both<unknown>()
    asked[0]!.answer(new Map([['a', 1]]))
    await first
    await tick()
    asked[1]!.answer('plain')
    expect(await second).toBe('plain')
  })

  it('share an error of this library unchanged', async () => {
    const { asked, first, second } = await both<string>()
    const error = new StackError('It is down.', { code: 'SERVER', status: 503, retryAfter: 9 })
    asked[0]!.fail(error)
    expect(await failure(first)).toBe(error)
    expect(await failure(second)).toMatchObject({
      message: 'It is down.',
      code: 'SERVER',
      status: 503,
      retryAfter: 9,
    })
    expect(asked).toHaveLength(1)
  })

  it.each([
    ['of the function itself', new TypeError('a secret of it')],
    [
      'of a layer in that process',
      new StackError('full', { code: 'QUEUE_FULL', status: 503, layer: 'queue', refused: true }),
    ],
    ['of a stack that closes', new StackError('closed', { code: 'CLOSED', status: 503 })],
  ])('do not share an error %s', async (_, error) => {
    const { asked, first, second } = await both<string>()
    asked[0]!.fail(error)
    expect(await failure(first)).toBe(error)
    await tick()
    asked[1]!.answer('of its own')
    expect(await second).toBe('of its own')
  })

  it('repeat the call once for all when the process making it dies before the answer', async () => {
    const { join } = processes()
    const { asked, fn } = held<string>()
    const all = [join(fn), join(fn), join(fn)]
    const answers = []
    for (const { ask } of all) {
      answers.push(ask('q'))
      await tick()
    }
    all[0]!.process.kill()
    await tick()
    expect(asked).toHaveLength(2)
    asked[1]!.answer('again')
    expect(await Promise.all(answers.slice(1))).toEqual(['again', 'again'])
  })

  it('run on their own when the other processes cannot be reached, and note it', async () => {
    const { join } = processes()
    const { asked, fn } = held<string>()
    const [one, two] = [join(fn), join(fn)]
    one.process.cut()
    two.process.cut()
    const answers = [one.ask('q'), two.ask('q')]
    await tick()
    expect(asked).toHaveLength(2)
    for (const { answer } of asked) answer('alone')
    expect(await Promise.all(answers)).toEqual(['alone', 'alone'])
    expect([one.notes, two.notes]).toEqual([[{ alone: true }], [{ alone: true }]])
  })

  it('of different tenants, and those that bypass the cache, share nothing', async () => {
    const { join } = processes()
    const { asked, fn } = held<string>()
    const [one, two] = [join(fn), join(fn)]
    const calls = [
      one.ask('q', { tenant: 'a' }),
      two.ask('q', { tenant: 'b' }),
      two.ask('q'),
      one.ask('q', { cache: 'no-store' }),
      two.ask('q', { cache: 'no-store' }),
    ]
    await tick()
    expect(asked).toHaveLength(5)
    for (const { answer } of asked) answer('own')
    await Promise.all(calls)
  })

  it('need a function that has a name', () => {
    const shared = onlyShared({
      logs: () => new MemoryLogs(),
    })
    expect(() => stack(async (q: string) => q, dedupe({ shared }))).toThrow(
      /dedupe: with option "shared", the function needs a name/,
    )
  })

  it('continue while a caller in any process waits, and stop when the last one leaves', async () => {
    const { join } = processes()
    const signals: AbortSignal[] = []
    const fn = (_: string, { signal }: Context) => {
      signals.push(signal)
      return new Promise<string>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
      })
    }
    const [one, two] = [join(fn), join(fn)]
    const leaving = [new AbortController(), new AbortController()]
    const first = failure(one.ask('q', { signal: leaving[0]!.signal }))
    await tick()
    const second = failure(two.ask('q', { signal: leaving[1]!.signal }))
    await tick()
    leaving[0]!.abort(new Error('one has left'))
    expect(await first).toMatchObject({ message: 'one has left' })
    await tick()
    expect(signals.map(({ aborted }) => aborted)).toEqual([false])
    leaving[1]!.abort(new Error('two has left'))
    expect(await second).toMatchObject({ message: 'two has left' })
    await tick()
    expect(signals.map(({ aborted }) => aborted)).toEqual([true])
    expect(one.ask.stats().dedupe.inFlight + two.ask.stats().dedupe.inFlight).toBe(0)
  })
})

describe('a stream that several processes share', () => {
  /** A source that gives `count` chunks, one each time it is asked, and counts them. */
  function counted(count: number) {
    const given = { chunks: 0, sources: 0, returned: 0 }
    async function* fn(_: string) {
      given.sources++
      try {
        for (let i = 0; i < count; i++) {
          given.chunks++
          yield `chunk ${i}`
        }
      } finally {
        given.returned++
      }
    }
    return { given, fn: async (request: string) => fn(request) }
  }

  const whole = (count: number) => Array.from({ length: count }, (_, i) => `chunk ${i}`)

  it('arrives whole for a reader who joins late in another process', async () => {
    const { join } = processes()
    const { given, fn } = counted(200)
    const [one, two] = [join(fn), join(fn)]
    const first = await one.ask('q')
    for (let i = 0; i < 50; i++) await first.next()
    const second = await two.ask('q')
    expect(await collect(second)).toEqual(whole(200))
    expect(await collect(first)).toEqual(whole(200).slice(50))
    expect(given).toEqual({ chunks: 200, sources: 1, returned: 1 })
  })

  it('runs at the pace of its readers while nobody in another process reads', async () => {
    const { join } = processes()
    const { given, fn } = counted(100_000)
    const first = await join(fn).ask('q')
    for (let i = 0; i < 10; i++) await first.next()
    await tick()
    expect(given.chunks).toBeLessThan(20)
    await first.return(undefined)
    await tick()
    expect(given.returned).toBe(1)
  })

  it('continues for a reader in another process when its own process has none left', async () => {
    const { join } = processes()
    const { given, fn } = counted(500)
    const [one, two] = [join(fn), join(fn)]
    const first = await one.ask('q')
    await first.next()
    const second = await two.ask('q')
    await second.next()
    await first.return(undefined)
    await tick()
    expect(await collect(second)).toEqual(whole(500).slice(1))
    expect(given).toMatchObject({ sources: 1, returned: 1 })
  })

  it('stops when the last reader of any process has left', async () => {
    const { join } = processes()
    let returned = 0
    async function* endless() {
      try {
        for (;;) {
          yield 'chunk'
          await sleep(10)
        }
      } finally {
        returned++
      }
    }
    const [one, two] = [join(async () => endless()), join(async () => endless())]
    const first = await one.ask('q')
    await first.next()
    const second = await two.ask('q')
    await second.next()
    await first.return(undefined)
    await tick(100)
    expect(returned).toBe(0)
    await second.return(undefined)
    await tick(10)
    expect(returned).toBe(1)
  })

  it('fails with the reason when its process dies after the first chunks', async () => {
    const { join } = processes()
    let more!: () => void
    async function* slowly() {
      yield 'first'
      await new Promise<void>((resolve) => {
        more = resolve
      })
      yield 'second'
    }
    const [one, two] = [join(async () => slowly()), join(async () => slowly())]
    const first = await one.ask('q')
    await first.next()
    const second = await two.ask('q')
    expect(await second.next()).toEqual({ done: false, value: 'first' })
    one.process.kill()
    const error = await failure(second.next())
    expect(error).toMatchObject({ code: 'STREAM', layer: 'dedupe', cause: { code: 'OWNER_LOST' } })
    more()
    expect(await collect(first)).toEqual(['second'])
  })

  it('is whole for all who read to its end, whenever others join, read and leave', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            process: fc.nat({ max: 2 }),
            /** Chunks that are read before the next one joins. */
            ahead: fc.nat({ max: 30 }),
            /** How many are read in all; more than there are: to the end. */
            reads: fc.integer({ min: 1, max: 120 }),
          }),
          { minLength: 1, maxLength: 6 },
        ),
        async (readers) => {
          const { join } = processes()
          const { given, fn } = counted(90)
          const all = [join(fn), join(fn), join(fn)]
          const finished = []
          for (const { process, ahead, reads } of readers) {
            const stream = await all[process]!.ask('q')
            const read: string[] = []
            const take = async (upTo: number) => {
              while (read.length < upTo) {
                const { done, value } = await stream.next()
                if (done) return
                read.push(value as string)
              }
            }
            await take(Math.min(ahead, reads))
            finished.push(async () => {
              await take(reads)
              await stream.return(undefined)
              return read
            })
          }
          const results = await Promise.all(finished.map((finish) => finish()))
          await tick()
          for (const [i, read] of results.entries())
            expect(read).toEqual(whole(90).slice(0, readers[i]!.reads))
          expect(given.returned).toBe(given.sources)
          for (const { ask } of all) expect(ask.stats().dedupe.inFlight).toBe(0)
        },
      ),
      { numRuns: 100 },
    )
  })
})
