import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  base,
  batcher,
  breaker,
  cache,
  collect,
  createBlossom,
  dedupe,
  fallback,
  isStackError,
  onEnd,
  queue,
  rateLimit,
  retry,
  stack,
  tap,
  timeout,
} from '../../src/index.js'
import { startLocalBlossom } from '../../src/testing/index.js'
import { catchWarnings } from '../support/warnings.js'
import { failure } from '../support/watch.js'
import { CALL_OPTIONS } from './factories.js'

/** A callback without types. */
// biome-ignore lint/suspicious/noExplicitAny: these callbacks answer what the types forbid
type Callback = (...args: any[]) => any

const thenable = () => ({
  // biome-ignore lint/suspicious/noThenProperty: a thenable on purpose
  then: () => {},
})

/** What a callback may do wrong. */
const mishaps: Record<string, Callback> = {
  'throws an error': () => {
    throw new Error('on purpose')
  },
  'throws nothing': () => {
    throw undefined
  },
  'gives undefined': () => undefined,
  'gives null': () => null,
  'gives NaN': () => Number.NaN,
  'gives Infinity': () => Number.POSITIVE_INFINITY,
  'gives a negative number': () => -5,
  'gives a text': () => 'text',
  'gives a symbol': () => Symbol('s'),
  'gives a bigint': () => 5n,
  'gives an object': () => ({}),
  'gives an object without a prototype': () => Object.create(null),
  'gives a promise that never settles': () => new Promise(() => {}),
  'gives a promise that rejects': () => Promise.reject(new Error('on purpose')),
  'gives a thenable that never settles': thenable,
}
const cases = Object.entries(mishaps)

let warnings: string[]
let unhandled: unknown[]
const onUnhandled = (reason: unknown) => void unhandled.push(reason)

beforeEach(() => {
  warnings = catchWarnings()
  unhandled = []
  process.on('unhandledRejection', onUnhandled)
})
afterEach(async () => {
  // A rejection that nobody handles is told when the microtasks are done.
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', onUnhandled)
  expect(unhandled).toEqual([])
  vi.restoreAllMocks()
})

/** Fails at first and then answers. */
const flaky = (error: unknown = new Error('the first failure')) => {
  let calls = 0
  return async () => {
    if (calls++ === 0) throw error
    return 'ok'
  }
}
async function* letters() {
  yield 'a'
  yield 'b'
  return undefined
}

describe.each(cases)('a callback that %s', (what, mishap) => {
  const throwsOrPromises = ['throws', 'gives a promise', 'gives a thenable'].some((start) =>
    what.startsWith(start),
  )

  it('as onRetry, onStateChange or onEnd changes nothing', async () => {
    const ask = stack(
      flaky(),
      retry({ minDelayMs: 0, onRetry: mishap }),
      breaker({ minimumCalls: 5, onStateChange: mishap }),
      (next) => async (request, context) => onEnd(await next(request, context), mishap),
    )
    expect(await ask()).toBe('ok')
    const opening = stack(
      async () => Promise.reject(new Error('down')),
      breaker({ minimumCalls: 1, onStateChange: mishap }),
    )
    expect(await failure(opening())).toMatchObject({ message: 'down' })
    expect(await failure(opening())).toMatchObject({ code: 'BREAKER_OPEN' })
    const tapped = stack(
      letters,
      (next) => async (request, context) => tap(await next(request, context), mishap),
    )
    expect(await collect(await tapped())).toEqual(['a', 'b'])
  })

  it('as onEvent changes nothing, of a value or a stream', async () => {
    expect(
      await stack(base(flaky(), { onEvent: mishap }), retry({ minDelayMs: 0 }), queue())(),
    ).toBe('ok')
    expect(await collect(await stack(base(letters, { onEvent: mishap }), queue())())).toEqual([
      'a',
      'b',
    ])
  })

  it('as when is ignored in favour of the default rule', async () => {
    const ask = stack(flaky(), retry({ minDelayMs: 0, when: mishap }))
    const said = throwsOrPromises || mishap()
    if (said) expect(await ask()).toBe('ok')
    else expect(await failure(ask())).toMatchObject({ message: 'the first failure' })
  })

  it('as accept or when of fallback decides nothing, or counts as what it looks like', async () => {
    const said = throwsOrPromises || Boolean(mishap())
    const failing = stack(flaky(), fallback({ to: [() => 'instead'], when: mishap }))
    expect(await failing().catch(({ message }) => message)).toBe(
      said ? 'instead' : 'the first failure',
    )
    const judged = stack(async () => 'ok', fallback({ to: [() => 'instead'], accept: mishap }))
    expect(await judged()).toBe(said ? 'ok' : 'instead')
  })

  it('as a candidate of fallback is an answer, or a failure like any other', async () => {
    const down = async (): Promise<unknown> => Promise.reject(new Error('down'))
    const ask = stack(down, fallback({ to: [mishap, () => 'instead'] }))
    if (what.endsWith('never settles')) {
      await failure(ask(undefined, { timeoutMs: 20 }))
      return
    }
    const fails = what.startsWith('throws') || what === 'gives a promise that rejects'
    expect(typeof (await ask())).toBe(fails ? 'string' : typeof mishap())
  })

  it('as a callback of rateLimit, or a trait that it reads, costs no call', async () => {
    const limits = {
      requests: mishap,
      tokens: { limit: mishap },
      cost: { limit: mishap, per: 'day', price: mishap, onUnknownPrice: 'zero' },
      countTokens: mishap,
    } as const
    const traits = { weigh: mishap, usage: mishap, model: mishap, ownKey: mishap }
    for (const by of [mishap, 'model', 'all'] as const) {
      const layers = [rateLimit({ ...limits, by }), rateLimit({ requests: 1e6, tokens: 1e9, by })]
      for (const layer of layers) {
        expect(
          await stack(
            base(async () => 'ok', traits),
            layer,
          )(),
        ).toBe('ok')
        expect(await collect(await stack(base(letters, traits), layer)())).toEqual(['a', 'b'])
        expect(layer.stats()).toMatchObject({ waiting: 0, rejected: 0 })
      }
    }
  })

  it('as random keeps the backoff within its bounds', async () => {
    const waits: number[] = []
    const ask = stack(
      flaky(),
      retry({
        minDelayMs: 3,
        maxDelayMs: 3,
        random: mishap,
        onRetry: ({ delayMs }) => void waits.push(delayMs),
      }),
    )
    expect(await ask()).toBe('ok')
    expect(waits).toHaveLength(1)
    expect(waits[0]).toBeGreaterThanOrEqual(0)
    expect(waits[0]).toBeLessThanOrEqual(3)
  })

  it('as counts gives back the permit, and the caller what had failed', async () => {
    const ask = stack(flaky(), breaker({ minimumCalls: 100, counts: mishap }))
    expect(await failure(ask())).toMatchObject({ message: 'the first failure' })
    expect(await ask()).toBe('ok')
  })

  it("as a cache's key or a base's identity lets the call pass by, or names it", async () => {
    expect(await stack(async () => 'ok', cache({ key: mishap }))()).toBe('ok')
    const ask = stack(
      base(async () => 'ok', { key: mishap as never }),
      cache(),
      dedupe(),
    )
    expect(await Promise.all([ask(), ask()])).toEqual(['ok', 'ok'])
    if (what !== 'gives a text')
      expect(ask.stats()).toMatchObject({ cache: { unkeyed: 2 }, dedupe: { unkeyed: 2 } })
  })

  it("as a breaker's key fails the call alone, or names a circuit", async () => {
    const ask = stack(async () => 'ok', breaker({ key: mishap }))
    const ended = await ask().then(
      (value) => value,
      () => 'failed',
    )
    expect(ended).toBe(throwsOrPromises || what.endsWith('without a prototype') ? 'failed' : 'ok')
    expect(ask.stats().breaker).toMatchObject({ state: 'closed', failures: 0 })
  })

  it("as a time limit's function never means that there is no limit", async () => {
    const hanging = stack(() => new Promise<never>(() => {}), timeout({ ms: mishap }))
    const patienceMs = what === 'gives Infinity' ? 50 : 10_000
    const patience = new Promise((resolve) => setTimeout(resolve, patienceMs, 'no limit').unref())
    const error = await Promise.race([failure(hanging()), patience])
    // What is no duration is a mistake; one that is for ever was asked for.
    if (what === 'gives Infinity') expect(error).toBe('no limit')
    else expect(error).not.toBe('no limit')
    await hanging.close({ timeoutMs: 0 })
  })

  it('as a trait of a stream costs neither chunks nor the call', async () => {
    for (const trait of ['commits', 'complete', 'streams']) {
      const ask = stack(
        base(letters, { [trait]: mishap }),
        cache(),
        timeout({ ms: 5_000, firstTokenMs: 4_000 }),
        batcher({ maxDelayMs: 0 }),
      )
      expect([trait, await collect(await ask())]).toEqual([trait, ['a', 'b']])
    }
  })

  it('as a trait of a value costs at most a hit', async () => {
    for (const trait of ['valid', 'split', 'streams']) {
      const ask = stack(
        base(async (list: number[]) => list, { [trait]: mishap }),
        cache(),
        batcher({ maxDelayMs: 0 }),
      )
      expect([trait, await ask([1])]).toEqual([trait, [1]])
      expect([trait, await ask([1])]).toEqual([trait, [1]])
    }
  })

  it("as a batch's onProgress or estimate costs no outcome, unless an estimate throws", async () => {
    await using upstream = await startLocalBlossom()
    await using blossom = createBlossom({ baseURL: upstream.url })
    const outcomes = await collect(
      blossom.text.batch(['a', 'b'], { onProgress: mishap, maxTokens: 2 }),
    )
    expect(outcomes.map(({ ok }) => ok)).toEqual([true, true])
    const estimated = collect(
      blossom.text.batch(['a', 'b'], { estimate: mishap, maxTokens: 2 }),
    ).then(
      (all) => all.length,
      () => 'failed',
    )
    const isNoNumber = ['gives a symbol', 'gives an object without a prototype'].includes(what)
    expect(await estimated).toBe(throwsOrPromises || isNoNumber ? 'failed' : 2)
  })
})

describe('a callback that gives a promise', () => {
  type Library = typeof import('../../src/index.js')
  it.each<[string, (library: Library, mishap: Callback) => Promise<unknown>]>([
    ['retry: when()', ({ stack, retry }, when) => stack(flaky(), retry({ minDelayMs: 0, when }))()],
    [
      'retry: random()',
      ({ stack, retry }, random) => stack(flaky(), retry({ minDelayMs: 1, random }))(),
    ],
    [
      'breaker: counts()',
      ({ stack, breaker }, counts) => failure(stack(flaky(), breaker({ counts }))()),
    ],
    ['cache: key()', ({ stack, cache }, key) => stack(async () => 1, cache({ key }))()],
    [
      'commits()',
      async ({ stack, base, collect }, commits) =>
        collect(await stack(base(letters, { commits }))()),
    ],
    [
      'streams()',
      ({ stack, base, timeout }, streams) =>
        stack(
          base(async () => 1, { streams }),
          timeout({ ms: 1_000 }),
        )(),
    ],
  ])('is told of by its name: %s', async (name, run) => {
    // Each text is told once in a process.
    vi.resetModules()
    await run(await import('../../src/index.js'), async () => true)
    expect(warnings).toEqual([`${name} threw TypeError. The call continued.`])
  })
})

describe('a getter or setter that interferes with the library', () => {
  it('options whose values change at each read are read once', async () => {
    let reads = 0
    const options = {
      get priority() {
        if (++reads > 1) throw new Error('read twice')
        return 1
      },
    }
    const ask = stack(async () => 'ok')
    expect(await ask(undefined, options)).toBe('ok')
    await ask.close({ timeoutMs: 60_000 })
    expect(reads).toBe(1)
  })

  it('unreadable options leave nothing for close() to wait for', async () => {
    const ask = stack(async () => 'ok')
    for (const name of [...CALL_OPTIONS, 'derive']) {
      const error = await failure(
        ask(
          undefined,
          Object.defineProperty({}, name, { get: mishaps['throws an error']!, enumerable: true }),
        ),
      )
      expect([name, isStackError(error, 'VALIDATION')]).toEqual([name, true])
    }
    // The test's own limit is the check.
    await ask.close({ timeoutMs: 600_000 })
  })

  it('a signal whose listener cannot be removed is refused', async () => {
    const ask = stack(async () => 'ok')
    const error = await failure(
      ask(undefined, { signal: { aborted: false, addEventListener() {} } as never }),
    )
    expect(error).toMatchObject({ code: 'VALIDATION' })
    const like = { aborted: false, addEventListener() {}, removeEventListener() {} }
    expect(await ask(undefined, { signal: like as never })).toBe('ok')
  })
})
