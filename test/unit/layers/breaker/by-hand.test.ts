import { describe, expect, it, vi } from 'vitest'
import { stack } from '../../../../src/core/index.js'
import {
  type BreakerOptions,
  type BreakerSnapshot,
  type BreakerState,
  breaker,
} from '../../../../src/layers/breaker/index.js'
import { closedAtEnd } from '../../../support/closed-at-end.js'
import { configError } from '../../../support/config-error.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate } from '../../../support/gate.js'
import { upstreamError } from '../../../support/upstream.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
const kept = closedAtEnd()

const SMALL = { minimumCalls: 2, windowMs: 1_000, resetMs: 500 }

interface Ask {
  readonly model?: string
  readonly ok?: boolean
}

/** A breaker around a function that fails unless it is told not to. */
function around(options: BreakerOptions<'breaker', Ask> = {}) {
  const changes: [BreakerState, string | undefined][] = []
  const layer = breaker({
    ...SMALL,
    onStateChange: (...change) => changes.push(change),
    ...options,
  })
  const ask = stack(async ({ ok = true }: Ask) => {
    if (!ok) throw upstreamError('SERVER')
    return 'answer'
  }, layer)
  kept(ask)
  const run = (of: Ask, times = 1) =>
    Promise.all(Array.from({ length: times }, () => ask(of).catch((error) => error)))
  return { layer, ask, run, changes }
}

const byModel = (options: BreakerOptions<'breaker', Ask> = {}) =>
  around({ key: ({ model = '' }: Ask) => model, ...options })

describe('isolate()', () => {
  it('refuses all calls until reset(), with no time to retry', async () => {
    const { layer, ask, changes } = around()
    layer.isolate()
    expect(layer.state()).toBe('open')
    const error = await failure(ask({}))
    expect(error).toMatchObject({ code: 'BREAKER_OPEN', retryAfter: undefined, refused: true })
    expect((error as Error).message).toBe(
      'Rejected: the circuit was opened with isolate(). Calls are rejected until reset().',
    )
    await tick(24 * 3_600_000)
    expect(layer.state()).toBe('open')
    expect(ask.stats().breaker).toMatchObject({ state: 'open', rejected: 1, opened: 1 })
    layer.reset()
    expect(layer.state()).toBe('closed')
    expect(await ask({})).toBe('answer')
    expect(changes).toEqual([
      ['open', undefined],
      ['closed', undefined],
    ])
  })

  it('keeps an open circuit from becoming half-open', async () => {
    const { layer, ask, run, changes } = around()
    await run({ ok: false }, 2)
    layer.isolate()
    await tick(1_000)
    expect(await failure(ask({}))).toMatchObject({ retryAfter: undefined })
    expect(changes).toEqual([['open', undefined]])
  })

  it('ignores the verdicts of calls already running', async () => {
    const works = [gate(), gate()]
    let calls = 0
    const layer = breaker(SMALL)
    const ask = stack(() => works[calls++]!.promise, layer)
    kept(ask)
    for (const _ of works) watch(ask())
    layer.isolate()
    layer.reset()
    for (const work of works) work.fail(upstreamError('SERVER'))
    await tick()
    expect(layer.state()).toBe('closed')
  })

  it('opens only the given key, whether or not it was ever used', async () => {
    const { layer, ask } = byModel()
    await ask({ model: 'a' })
    layer.isolate('a')
    layer.isolate('b')
    for (const model of ['a', 'b'])
      expect(await failure(ask({ model }))).toMatchObject({ code: 'BREAKER_OPEN' })
    expect(await ask({ model: 'c' })).toBe('answer')
    expect(['a', 'b', 'c', undefined].map((key) => layer.state(key))).toEqual([
      'open',
      'open',
      'closed',
      'open',
    ])
    layer.reset('a')
    expect(await ask({ model: 'a' })).toBe('answer')
    expect(layer.state()).toBe('open')
    layer.reset('b')
    expect(layer.state()).toBe('closed')
  })

  it('opens all keys, even future ones, when called without a key, and reset() of one key closes only that', async () => {
    const { layer, ask } = byModel()
    await ask({ model: 'a' })
    layer.isolate()
    for (const model of ['a', 'new'])
      expect(await failure(ask({ model }))).toMatchObject({ code: 'BREAKER_OPEN' })
    layer.reset('a')
    expect(await ask({ model: 'a' })).toBe('answer')
    expect(layer.state('newer')).toBe('open')
    layer.reset()
    expect(await ask({ model: 'new' })).toBe('answer')
  })

  it('holds however many other keys are used', async () => {
    const { layer, ask, run } = byModel()
    layer.isolate('a')
    for (let i = 0; i < 1_200; i++) await run({ model: `model ${i}` })
    expect(layer.state('a')).toBe('open')
    expect(layer.state()).toBe('open')
    expect(await failure(ask({ model: 'a' }))).toMatchObject({ code: 'BREAKER_OPEN' })
  })
})

describe('reset()', () => {
  it('closes an open circuit as if nothing had been counted', async () => {
    const { layer, ask, run, changes } = around()
    await run({ ok: false }, 2)
    expect(layer.state()).toBe('open')
    layer.reset()
    expect(await ask({})).toBe('answer')
    await run({ ok: false }, 1)
    expect(layer.state()).toBe('open')
    await tick(500)
    expect(changes.map(([state]) => state)).toEqual(['open', 'closed', 'open', 'half-open'])
  })

  it('forgets what a closed circuit has counted, and reports no change', async () => {
    const { layer, run, changes } = around()
    await run({ ok: false })
    layer.reset()
    await run({ ok: false })
    expect(layer.state()).toBe('closed')
    expect(changes).toEqual([])
  })
})

describe('state()', () => {
  it('returns the state of the key, or the worst of all without one', async () => {
    const { layer, run } = byModel()
    expect(layer.state()).toBe('closed')
    await run({ model: 'a', ok: false }, 2)
    await tick(300)
    await run({ model: 'b', ok: false }, 2)
    await tick(200)
    expect([layer.state('a'), layer.state('b'), layer.state()]).toEqual([
      'half-open',
      'open',
      'open',
    ])
    await tick(300)
    expect(layer.state()).toBe('half-open')
  })

  it('does not create a circuit', () => {
    const { layer, ask } = byModel()
    for (let i = 0; i < 2_000; i++) layer.state(`${i}`)
    expect(ask.stats().breaker.circuits.total).toBe(0)
  })
})

it.each(['isolate', 'reset', 'state'] as const)(
  '%s() refuses a key when all calls share one circuit',
  (method) => {
    const { layer } = around()
    expect(() => layer[method]('a')).toThrow(configError(`${method}()`))
  },
)

describe('exportState()', () => {
  const again = (snapshot: BreakerSnapshot): BreakerSnapshot => JSON.parse(JSON.stringify(snapshot))

  it('contains the circuits that are not closed, with times since the epoch', async () => {
    vi.setSystemTime(1_000_000)
    const { layer, run } = byModel()
    expect(layer.exportState()).toEqual({ isolated: false, exceptions: [], circuits: [] })
    await run({ model: 'a', ok: false }, 2)
    await run({ model: 'b' })
    layer.isolate('c')
    await tick(100)
    expect(layer.exportState()).toEqual({
      isolated: false,
      exceptions: ['c'],
      circuits: [{ key: 'a', openings: 1, resetsAt: 1_000_500 }],
    })
  })

  it('keeps a circuit open in another breaker for the rest of its time', async () => {
    const one = around()
    await one.run({ ok: false }, 2)
    await tick(200)
    const other = around({ initialState: again(one.layer.exportState()) })
    expect(await failure(other.ask({}))).toMatchObject({ retryAfter: 300 })
    await tick(300)
    expect(other.layer.state()).toBe('half-open')
    expect(await other.ask({})).toBe('answer')
    expect(other.layer.state()).toBe('closed')
    expect(other.changes.map(([state]) => state)).toEqual(['half-open', 'closed'])
  })

  it('lets a trial through at once when the time has passed in the meantime', async () => {
    const one = around()
    await one.run({ ok: false }, 2)
    const snapshot = again(one.layer.exportState())
    await tick(10_000)
    const other = around({ initialState: snapshot })
    expect(other.layer.state()).toBe('half-open')
    await other.run({ ok: false })
    expect(other.layer.state()).toBe('open')
  })

  it('keeps the number of consecutive openings', async () => {
    const resetMs = (openings: number) => openings * 100
    const one = around({ resetMs })
    await one.run({ ok: false }, 2)
    await tick(100)
    await one.run({ ok: false })
    const other = around({ resetMs, initialState: again(one.layer.exportState()) })
    await tick(200)
    await other.run({ ok: false })
    expect(await failure(other.ask({}))).toMatchObject({ retryAfter: 300 })
  })

  it('keeps isolated circuits isolated', async () => {
    const one = byModel()
    one.layer.isolate()
    one.layer.reset('a')
    const other = byModel({ initialState: again(one.layer.exportState()) })
    expect(await other.ask({ model: 'a' })).toBe('answer')
    expect(await failure(other.ask({ model: 'b' }))).toMatchObject({ code: 'BREAKER_OPEN' })
    const only = around()
    only.layer.isolate()
    expect(around({ initialState: again(only.layer.exportState()) }).layer.state()).toBe('open')
  })

  it('never keeps a circuit open for longer than a new opening would, whatever the clocks say', async () => {
    const circuits = [{ openings: 1, resetsAt: Date.now() + 24 * 3_600_000 }]
    const { layer } = around({ initialState: { isolated: false, exceptions: [], circuits } })
    await tick(499)
    expect(layer.state()).toBe('open')
    await tick(1)
    expect(layer.state()).toBe('half-open')
  })

  it('is ignored when only one of the two breakers has a key', async () => {
    const keyed = byModel()
    await keyed.run({ model: 'a', ok: false }, 2)
    keyed.layer.isolate('b')
    expect(around({ initialState: keyed.layer.exportState() }).layer.state()).toBe('closed')
    const only = around()
    await only.run({ ok: false }, 2)
    expect(byModel({ initialState: only.layer.exportState() }).layer.state()).toBe('closed')
  })

  it.each([
    'open',
    null,
    {},
    { isolated: false, exceptions: [] },
    { isolated: false, exceptions: [5], circuits: [] },
    { isolated: false, exceptions: [], circuits: ['open'] },
    { isolated: false, exceptions: [], circuits: [{ openings: 0, resetsAt: 5 }] },
    { isolated: false, exceptions: [], circuits: [{ openings: 1, resetsAt: '5' }] },
  ])('is the only thing that initialState accepts: %j is refused', (initialState) => {
    expect(() => breaker({ initialState: initialState as never })).toThrow(
      configError('exportState()'),
    )
  })
})

describe('resetMs as a function', () => {
  it('is called at each opening with the number of consecutive openings', async () => {
    const asked: number[] = []
    const { ask, run } = around({ resetMs: (openings) => asked.push(openings) * 100 })
    await run({ ok: false }, 2)
    for (const ms of [100, 200, 300]) {
      expect(await failure(ask({}))).toMatchObject({ retryAfter: ms })
      await tick(ms)
      await run({ ok: false })
    }
    await tick(400)
    await run({})
    await run({ ok: false }, 2)
    expect(asked).toEqual([1, 2, 3, 4, 1])
  })

  it.each([
    [-5, 1],
    [Number.POSITIVE_INFINITY, 24 * 3_600_000],
  ])('is held within bounds: %d', async (given, used) => {
    const { ask, run } = around({ resetMs: () => given })
    await run({ ok: false }, 2)
    expect(await failure(ask({}))).toMatchObject({ retryAfter: used })
  })

  it('falls back to the default when it throws, with a warning', async () => {
    const warnings = catchWarnings()
    const { ask, run } = around({
      resetMs: () => {
        throw named('ResetMsIsBroken')
      },
    })
    await run({ ok: false }, 2)
    expect(await failure(ask({}))).toMatchObject({ retryAfter: 30_000 })
    expect(warnings.join()).toContain('breaker: resetMs() threw ResetMsIsBroken')
  })

  it.each([
    ['a promise', async () => 5],
    ['nonsense', () => Number.NaN],
  ])('falls back to the default when it returns %s', async (_, resetMs) => {
    const { ask, run } = around({ resetMs: resetMs as never })
    await run({ ok: false }, 2)
    expect(await failure(ask({}))).toMatchObject({ retryAfter: 30_000 })
  })
})

it('several trials together close the circuit or open it again, by the same failure rate', async () => {
  const { layer, ask, run } = around({ trials: 4 })
  await run({ ok: false }, 2)
  await tick(500)
  await run({ ok: false })
  await run({}, 2)
  expect(layer.state()).toBe('half-open')
  await run({})
  expect(layer.state()).toBe('closed')
  await run({ ok: false }, 2)
  await tick(500)
  const calls = await run({}, 2)
  expect(calls).toEqual(['answer', 'answer'])
  await run({ ok: false }, 2)
  expect(layer.state()).toBe('open')
  expect(await failure(ask({}))).toMatchObject({ retryAfter: 500 })
})
