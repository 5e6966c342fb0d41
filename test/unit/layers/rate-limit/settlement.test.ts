import { describe, expect, it, vi } from 'vitest'
import {
  type BaseTraits,
  base,
  ClosedError,
  type Context,
  collect,
  stack,
  TimeoutError,
} from '../../../../src/core/index.js'
import { breaker } from '../../../../src/layers/breaker/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import type { RateLimitOptions } from '../../../../src/layers/rate-limit/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { never } from '../../../support/gate.js'
import { RecordingStore, recordedLimit } from '../../../support/recorded-limit.js'
import { breaking } from '../../../support/streams.js'
import { upstreamError } from '../../../support/upstream.js'
import { catchWarningsInEachTest, named } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
const warnings = catchWarningsInEachTest()

interface Ask {
  readonly model?: string
  readonly output?: number | undefined
}

const traits: BaseTraits<Ask> = {
  weigh: ({ output }) => ({ input: 100, output }),
  model: ({ model }) => model,
  usage: (part) => (part as { usage?: { input: number; output: number } } | null)?.usage,
}

const LIMITS: RateLimitOptions = { requests: 6_000, tokens: 60_000 }

/** A limit around a function, with what it reserves and settles. */
function limited(
  answer: (request: Ask, context: Context) => unknown,
  options = LIMITS,
  more: BaseTraits<Ask> = {},
  ...inside: Parameters<typeof stack>[1][]
) {
  const store = new RecordingStore()
  const fn = base(async (request: Ask, context: Context) => answer(request, context), {
    ...traits,
    ...more,
  })
  const ask = stack(fn, recordedLimit(options, store), ...(inside as never[]))
  return { ask, log: store.log, stats: () => ask.stats() as unknown as { limit: object } }
}

const amounts = (requests: number, tokens: number) => ({ requests, tokens, cost: 0 })

/** What the only call has reserved and taken. */
const only = (log: RecordingStore['log']) => {
  expect(log).toHaveLength(1)
  expect(log[0]!.taken).toHaveLength(1)
  return { reserved: log[0]!.reserved.tokens, taken: log[0]!.taken[0] }
}

async function* chunks(...parts: readonly unknown[]) {
  for (const part of parts) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    yield part
  }
}

/** Reads so many chunks, and leaves. */
async function readSome(stream: unknown, count: number) {
  const iterator = (stream as AsyncIterable<unknown>)[Symbol.asyncIterator]()
  for (let i = 0; i < count; i++) await iterator.next()
  await iterator.return?.()
}

describe('what a call takes at admission', () => {
  it('is its input, and the output that it allows', async () => {
    const { ask, log } = limited(() => 1)
    await ask({ output: 5_000 })
    expect(log[0]?.reserved).toEqual(amounts(1, 5_100))
  })

  it('is 256 tokens of output where it allows nothing of its own', async () => {
    const { ask, log } = limited(() => 1)
    await ask({})
    expect(log[0]?.reserved).toEqual(amounts(1, 356))
  })

  it('is what three of four answers of that model have not exceeded, when 20 are known', async () => {
    const { ask, log } = limited(({ output = 40 }) => ({ usage: { input: 100, output } }))
    for (let i = 1; i <= 20; i++) await ask({ model: 'a', output: i })
    await ask({ model: 'a' })
    await ask({ model: 'b' })
    expect(log.slice(-2).map(({ reserved }) => reserved.tokens)).toEqual([115, 356])
  })

  it('is a quarter of the limit at most where it is learned, and whatever a caller allows himself', async () => {
    const { ask, log } = limited(() => 1, { tokens: 400 })
    await ask({ output: 0 })
    for (const output of [undefined, 700]) void ask({ output })
    await tick(60_000)
    expect(log.map(({ reserved }) => reserved.tokens)).toEqual([100, 200, 800])
  })

  it('goes by countTokens for the input', async () => {
    const { ask, log } = limited(() => 1, { ...LIMITS, countTokens: () => 7 })
    await ask({ output: 3 })
    expect(log[0]?.reserved.tokens).toBe(10)
  })

  it.each([
    ['throws', () => Promise.reject(named('CountError'))],
    ['gives no number', () => 'seven'],
    ['gives less than nothing', () => -7],
  ])('goes by the base when countTokens %s, with a warning', async (_, countTokens) => {
    const { ask, log } = limited(() => 1, { ...LIMITS, countTokens: countTokens as never })
    await ask({ output: 3 })
    expect(log[0]?.reserved.tokens).toBe(103)
    expect(warnings.every((text) => text.startsWith('rateLimit: countTokens() threw'))).toBe(true)
  })

  it.each([
    ['nothing', undefined],
    ['no numbers', { input: Number.NaN, output: 'many' }],
    ['less than nothing', { input: -5, output: Number.POSITIVE_INFINITY }],
  ])('is the estimate alone where the base weighs %s', async (_, weighed) => {
    const { ask, log } = limited(() => 1, LIMITS, { weigh: () => weighed as never })
    await ask({})
    expect(log[0]?.reserved.tokens).toBe(256)
  })

  it('stays a number that can be counted with, whatever a caller allows himself', async () => {
    const { ask, log } = limited(() => ({ usage: { input: 1, output: 1 } }), { tokens: 60_000 })
    await ask({ output: 1e300 })
    await ask({ output: 0 })
    expect(log.map(({ reserved }) => reserved.tokens)).toEqual([1e12, 100])
  })

  it('asks the base for nothing where only requests are limited', async () => {
    const weigh = vi.fn(() => ({ input: 1 }))
    const { ask } = limited(() => 1, { requests: 60 }, { weigh })
    await ask({})
    expect(weigh).not.toHaveBeenCalled()
  })
})

describe('what a call has taken at its end', () => {
  it('is what the answer reports', async () => {
    const { ask, log } = limited(() => ({ usage: { input: 90, output: 30 } }))
    await ask({ output: 500 })
    expect(only(log)).toEqual({ reserved: 600, taken: amounts(1, 120) })
  })

  it('is what the last chunk reports that reports anything, at the end of the stream', async () => {
    const { ask, log } = limited(() =>
      chunks(
        { text: 'Hello' },
        { usage: { input: 90, output: 1 } },
        { usage: { input: 90, output: 2 } },
        { text: 'after it' },
      ),
    )
    const stream = ask({}).then((answer) => collect(answer as AsyncIterable<unknown>))
    await tick(30)
    expect(log[0]?.taken).toEqual([])
    await tick(20)
    expect(await stream).toHaveLength(4)
    expect(only(log)).toEqual({ reserved: 356, taken: amounts(1, 92) })
  })

  it('is the input and the characters that came, without a report', async () => {
    const { ask, log } = limited(() => chunks({ text: 'Hello' }, { text: ', you' }, 'and more'))
    const stream = ask({}).then((answer) => collect(answer as AsyncIterable<unknown>))
    await tick(100)
    await stream
    expect(only(log).taken).toEqual(amounts(1, 100 + Math.ceil(18 / 4)))
  })

  it('is no more output than the call allowed', async () => {
    const { ask, log } = limited(() => 'x'.repeat(4_000))
    await ask({ output: 10 })
    expect(only(log).taken).toEqual(amounts(1, 110))
  })

  it('is what came until the reader left', async () => {
    const { ask, log } = limited(() => chunks('12345678', '12345678', '12345678'))
    const done = ask({}).then((stream) => readSome(stream, 2))
    await tick(100)
    await done
    expect(only(log).taken).toEqual(amounts(1, 104))
  })

  it('is what came until the stream broke', async () => {
    const { ask, log } = limited(() => breaking(3, upstreamError('STREAM')))
    const error = await failure(ask({}).then((stream) => collect(stream as AsyncIterable<unknown>)))
    expect(error).toMatchObject({ code: 'STREAM' })
    expect(only(log).taken).toEqual(amounts(1, 100))
  })

  it('is what arrived of a stream that nobody reads', async () => {
    const { ask, log } = limited(() => chunks('1234', '1234'))
    const call = watch(ask({}))
    await tick(30_100)
    expect(call.state).toBe('resolved')
    expect(only(log).taken).toEqual(amounts(1, 100))
  })

  it('is the input alone of an answer that holds no text', async () => {
    const { ask, log } = limited(() => ({ bytes: new Uint8Array(5_000) }))
    await ask({})
    expect(only(log).taken).toEqual(amounts(1, 100))
  })

  it.each([
    ['reports no numbers', () => ({ input: Number.NaN, output: 5 })],
    [
      'throws',
      () => {
        throw named('UsageError')
      },
    ],
  ])('is estimated where the base %s', async (_, usage) => {
    const { ask, log } = limited(() => 'twelve chars', LIMITS, { usage: usage as never })
    await ask({})
    expect(only(log).taken).toEqual(amounts(1, 103))
  })

  it('improves the estimate only when the answer completes', async () => {
    const { ask, log } = limited(() =>
      chunks({ usage: { input: 100, output: 1 } }, 'more', 'and more'),
    )
    for (let i = 0; i < 25; i++) {
      const done = ask({}).then((stream) => readSome(stream, 1))
      await tick(50)
      await done
    }
    const last = ask({}).then((stream) => readSome(stream, 0))
    await tick(50)
    await last
    expect(log.at(-1)?.reserved.tokens).toBe(356)
  })
})

describe('what comes back', () => {
  it.each(['RATE_LIMITED', 'SERVER'] as const)(
    'is the tokens, not the request, when upstream answers %s',
    async (code) => {
      const { ask, log } = limited(() => Promise.reject(upstreamError(code)))
      await failure(ask({}))
      expect(only(log).taken).toEqual(amounts(1, 0))
    },
  )

  it.each([429, 500, 503, 529])(
    'is the tokens for a foreign error of status %i',
    async (status) => {
      const { ask, log } = limited(() => Promise.reject(Object.assign(new Error('x'), { status })))
      await failure(ask({}))
      expect(only(log).taken).toEqual(amounts(1, 0))
    },
  )

  it.each([
    ['its request is wrong', upstreamError('BAD_REQUEST')],
    ['the connection breaks', upstreamError('NETWORK')],
    ['it takes too long', new TimeoutError(5)],
    ['it fails in a way of its own', new Error('x')],
    ['it throws nothing at all', undefined],
  ])('is the output when %s', async (_, error) => {
    const { ask, log } = limited(() => Promise.reject(error))
    await failure(ask({}))
    expect(only(log).taken).toEqual(amounts(1, 100))
  })

  it('is everything when a layer further in refuses the call', async () => {
    const { ask, log, stats } = limited(never, LIMITS, {}, queue({ concurrency: 1, maxWaiting: 0 }))
    const caller = new AbortController()
    const first = failure(ask({}, { signal: caller.signal }))
    expect(await failure(ask({}))).toMatchObject({ code: 'QUEUE_FULL' })
    expect(log.map(({ taken }) => taken)).toEqual([[], [amounts(0, 0)]])
    caller.abort()
    await first
    expect(stats().limit).toMatchObject({ admitted: 2, rejected: 0 })
  })

  it('is everything when the base refuses it, such as another stack', async () => {
    const { ask, log } = limited(() => Promise.reject(new ClosedError()))
    await failure(ask({}))
    expect(only(log).taken).toEqual(amounts(0, 0))
  })

  it('is everything when its caller leaves while it waits further in', async () => {
    const { ask, log } = limited(never, LIMITS, {}, queue({ concurrency: 1 }))
    const callers = [new AbortController(), new AbortController()]
    const calls = callers.map(({ signal }) => failure(ask({}, { signal })))
    await tick(100)
    callers[1]!.abort()
    await calls[1]
    expect(log.map(({ taken }) => taken)).toEqual([[], [amounts(0, 0)]])
    callers[0]!.abort()
    await calls[0]
  })

  it('is the output when its caller leaves while it runs', async () => {
    const { ask, log } = limited(
      (_, { signal }) =>
        new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason)),
        ),
    )
    const caller = new AbortController()
    const left = failure(ask({}, { signal: caller.signal }))
    await tick(5)
    caller.abort()
    await left
    await tick(5)
    expect(only(log).taken).toEqual(amounts(1, 100))
  })

  it('excludes the request when an attempt ran before an inner layer refused the call', async () => {
    const { ask, log } = limited(
      () => Promise.reject(upstreamError('SERVER')),
      LIMITS,
      {},
      retry({ retries: 2, minDelayMs: 0 }),
      breaker({ minimumCalls: 1 }),
    )
    const failed = failure(ask({}))
    await tick(10)
    expect(await failed).toMatchObject({ code: 'BREAKER_OPEN', cause: { code: 'SERVER' } })
    expect(only(log).taken).toEqual(amounts(1, 0))
    await failure(ask({}))
    expect(log.at(-1)?.taken).toEqual([amounts(0, 0)])
    await ask.close()
  })

  it('immediately releases the next call waiting for it', async () => {
    const { ask } = limited(
      ({ model }) => new Promise((resolve) => setTimeout(resolve, 500, { usage: usages[model!] })),
      { tokens: { limit: 6_000, burst: 1_000 } },
    )
    const usages: Record<string, object> = { first: { input: 100, output: 0 }, next: {} }
    const first = watch(ask({ model: 'first', output: 900 }))
    const next = watch(ask({ model: 'next', output: 700 }))
    await tick(500)
    expect([first.state, next.state]).toEqual(['resolved', 'pending'])
    // Else it would have had to wait for eight seconds.
    await tick(500)
    expect(next.state).toBe('resolved')
  })
})

describe('settled', () => {
  it('counts calls whose answer has ended, however it did', async () => {
    const { ask, stats } = limited(({ model }) => {
      if (model === 'fails') throw new Error('x')
      return model === 'streams' ? chunks('a', 'b') : 1
    })
    await ask({})
    await failure(ask({ model: 'fails' }))
    const stream = ask({ model: 'streams' })
    await tick(10)
    expect(stats().limit).toMatchObject({ admitted: 3, settled: 2 })
    const read = stream.then((answer) => collect(answer as AsyncIterable<unknown>))
    await tick(100)
    await read
    expect(stats().limit).toMatchObject({ admitted: 3, settled: 3, rejected: 0, waiting: 0 })
  })
})
