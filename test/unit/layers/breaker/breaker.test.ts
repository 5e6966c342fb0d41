import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  base,
  type CallOptions,
  ClosedError,
  ConfigError,
  type Context,
  collect,
  QueueFullError,
  RateLimitError,
  type Stack,
  stack,
  TimeoutError,
  ValidationError,
} from '../../../../src/core/index.js'
import {
  type BreakerOptions,
  type BreakerState,
  breaker,
} from '../../../../src/layers/breaker/index.js'
import { queue } from '../../../../src/layers/queue/index.js'
import { timeout } from '../../../../src/layers/timeout.js'
import { type Gate, gate, never } from '../../../support/gate.js'
import { breaking, numbers } from '../../../support/streams.js'
import { upstreamError } from '../../../support/upstream.js'
import { catchWarnings, named } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

const opened: { close(options: { timeoutMs: number }): Promise<void> }[] = []

/** Closed at the end: an open breaker's clock runs on. */
function kept<S extends Stack<never, unknown, never>>(ask: S): S
function kept<S>(ask: S): S
function kept(ask: unknown): unknown {
  opened.push(ask as (typeof opened)[0])
  return ask
}

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(async () => {
  const closings = Promise.all(opened.splice(0).map((ask) => ask.close({ timeoutMs: 0 })))
  await tick(2_000)
  await closings
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
  vi.restoreAllMocks()
})

const tick = (ms = 0) => vi.advanceTimersByTimeAsync(ms)
const down = () => upstreamError('SERVER')
const SMALL = { minimumCalls: 4, windowMs: 1_000, resetMs: 500 }

type Outcome = 'ok' | { error: unknown }
const fail = (error: unknown = down()): Outcome => ({ error })

/** A stack around a base that does what each request says. */
function around(options: BreakerOptions = {}, ...inside: never[]) {
  let calls = 0
  const base = async (outcome: Outcome) => {
    calls++
    if (outcome !== 'ok') throw outcome.error
    return 'answer'
  }
  const ask = kept(stack(base, breaker({ ...SMALL, ...options }), ...inside))
  const run = async (outcome: Outcome, times = 1) => {
    for (let i = 0; i < times; i++) await ask(outcome).catch(() => {})
  }
  const open = async () => {
    await run(fail(), 4)
    expect(ask.stats().breaker.state).toBe('open')
  }
  return { ask, run, open, state: () => ask.stats().breaker.state, calls: () => calls }
}

/** A stack whose calls the test settles one by one. */
function held(options: BreakerOptions = {}) {
  const works: Gate<string>[] = []
  const ask = kept(
    stack(
      async (_: string, { cancel }: Context) => {
        const work = gate<string>()
        works.push(work)
        cancel.onAbort((reason) => work.fail(reason))
        return work.promise
      },
      breaker({ ...SMALL, ...options }),
    ),
  )
  return { ask, works, state: () => ask.stats().breaker.state }
}

describe('breaker', () => {
  it('passes answers and failures on unchanged', async () => {
    const { ask } = around()
    const error = down()
    expect(await ask('ok')).toBe('answer')
    expect(await failure(ask(fail(error)))).toBe(error)
    expect(ask.stats().breaker).toEqual({
      state: 'closed',
      successes: 1,
      failures: 1,
      slow: 0,
      rejected: 0,
      opened: 0,
      heard: 0,
      circuits: { open: 0, halfOpen: 0, total: 1 },
    })
  })

  it('opens by default at half of at least 10 calls within 10 s, for 30 s', async () => {
    const ask = kept(
      stack(async (outcome: Outcome) => {
        if (outcome !== 'ok') throw outcome.error
      }, breaker()),
    )
    for (let i = 0; i < 5; i++) await ask('ok')
    for (let i = 0; i < 4; i++) await failure(ask(fail()))
    expect(ask.stats().breaker.state).toBe('closed')
    await failure(ask(fail()))
    expect(await failure(ask('ok'))).toMatchObject({ code: 'BREAKER_OPEN', retryAfter: 30_000 })
    await tick(29_999)
    await failure(ask('ok'))
    await tick(1)
    await ask('ok')
    expect(ask.stats().breaker.state).toBe('closed')
  })

  it('forgets calls older than its window', async () => {
    const { run, state } = around()
    await run(fail(), 3)
    await tick(1_000)
    await run(fail(), 3)
    expect(state()).toBe('closed')
  })

  it('refuses at once while it is open, without a call upstream, and says when to come again', async () => {
    const { ask, open, calls } = around()
    await open()
    const error = await failure(ask('ok'))
    expect(error).toMatchObject({
      code: 'BREAKER_OPEN',
      status: 503,
      refused: true,
      retryable: false,
      retryAfter: 500,
      layer: 'breaker',
    })
    await tick(200)
    expect(await failure(ask('ok'))).toMatchObject({ retryAfter: 300 })
    expect(calls()).toBe(4)
    expect(ask.stats().breaker).toMatchObject({ rejected: 2, opened: 1, failures: 4 })
  })

  it('refuses the very next call after the failure that opens it', async () => {
    const { ask, run, calls } = around()
    await run(fail(), 3)
    const codes: unknown[] = []
    // Not a microtask between the failure and the next call.
    await ask(fail()).catch(() => ask('ok').catch((error) => codes.push(error.code)))
    expect(codes).toEqual(['BREAKER_OPEN'])
    expect(calls()).toBe(4)
  })

  it('opens at exactly the failure rate', async () => {
    const { run, state } = around()
    await run('ok', 2)
    await run(fail(), 2)
    expect(state()).toBe('open')
  })

  it('opens with a success that completes the minimum of calls', async () => {
    const { run, state } = around()
    await run(fail(), 2)
    await run('ok', 1)
    expect(state()).toBe('closed')
    await run('ok', 1)
    expect(state()).toBe('open')
  })

  it('refuses what it refused no second time: refusals do not thin out the rate', async () => {
    const { ask, run, open, state } = around()
    await open()
    for (let i = 0; i < 50; i++) await failure(ask('ok'))
    await tick(500)
    await run('ok')
    expect(state()).toBe('closed')
    await run(fail(), 4)
    expect(state()).toBe('open')
  })

  describe('what counts', () => {
    it.each(['SERVER', 'NETWORK', 'PROTOCOL', 'STREAM'] as const)(
      '%s speaks against upstream',
      async (code) => {
        const { ask, run, state } = around()
        await run(fail(upstreamError(code)), 4)
        expect(state()).toBe('open')
        expect(ask.stats().breaker.failures).toBe(4)
      },
    )

    it.each([
      'AUTH',
      'PAYMENT',
      'FORBIDDEN',
      'NOT_FOUND',
      'BAD_REQUEST',
      'RATE_LIMITED',
      'TOO_LARGE',
    ] as const)('%s says nothing about it', async (code) => {
      const { ask, run, state } = around()
      await run(fail(upstreamError(code)), 50)
      expect(state()).toBe('closed')
      expect(ask.stats().breaker).toMatchObject({ successes: 0, failures: 0 })
      // Nor does it thin out the rate.
      await run(fail(), 4)
      expect(state()).toBe('open')
    })

    it.each([
      new QueueFullError(1),
      new RateLimitError('ours', { refused: true }),
      new ClosedError(),
      new ClosedError('cut', { refused: false }),
      new ValidationError('wrong'),
      new ConfigError('wrong'),
      new TimeoutError(5, { phase: 'queue' }),
      new TimeoutError(5, { phase: 'read' }),
      upstreamError('SERVER', { refused: true }),
    ])('$code does not count when it never ran, or nobody read it: $message', async (error) => {
      const { run, state } = around()
      await run(fail(error), 10)
      expect(state()).toBe('closed')
    })

    it.each(['total', 'first-token', 'idle'] as const)(
      'a time-out of phase %s counts',
      async (phase) => {
        const { run, state } = around()
        await run(fail(new TimeoutError(5, { phase })), 4)
        expect(state()).toBe('open')
      },
    )

    it.each([new Error('odd'), new TypeError('fetch failed'), 'a string', undefined])(
      'a foreign failure counts: %s',
      async (error) => {
        const { run, state } = around()
        await run(fail(error), 4)
        expect(state()).toBe('open')
      },
    )

    it("the caller's abort does not", async () => {
      const { ask, state } = held()
      for (let i = 0; i < 10; i++) {
        const caller = new AbortController()
        const call = watch(ask('x', { signal: caller.signal }))
        caller.abort(new Error('enough'))
        await tick()
        expect(call.state).toBe('rejected')
      }
      expect(ask.stats().breaker).toEqual({
        state: 'closed',
        successes: 0,
        failures: 0,
        slow: 0,
        rejected: 0,
        opened: 0,
        heard: 0,
        circuits: { open: 0, halfOpen: 0, total: 0 },
      })
      expect(state()).toBe('closed')
    })

    it("the caller's abort does not, whatever the work makes of it", async () => {
      const caller = new AbortController()
      const ask = kept(
        stack(
          (_: string, { signal }) =>
            new Promise((_resolve, reject) =>
              signal.addEventListener('abort', () => reject(down())),
            ),
          breaker(SMALL),
        ),
      )
      const calls = Array.from({ length: 10 }, () => watch(ask('x', { signal: caller.signal })))
      caller.abort()
      await tick()
      expect(calls.every((call) => call.state === 'rejected')).toBe(true)
      expect(ask.stats().breaker).toMatchObject({ state: 'closed', failures: 0 })
    })

    it('a time limit further out does: upstream was too slow for it', async () => {
      const ask = kept(
        stack(
          (_: string, { signal }) =>
            new Promise((_resolve, reject) =>
              signal.addEventListener('abort', () => reject(signal.reason)),
            ),
          timeout({ ms: 50 }),
          breaker(SMALL),
        ),
      )
      const calls = Array.from({ length: 4 }, () => watch(ask('x')))
      await tick(50)
      expect(calls[0]!.error).toMatchObject({ code: 'TIMEOUT', phase: 'total' })
      expect(ask.stats().breaker).toMatchObject({ state: 'open', failures: 4 })
    })

    it("a call's own timeoutMs does as well", async () => {
      const { ask, state } = held()
      for (let i = 0; i < 4; i++) watch(ask('x', { timeoutMs: 50 }))
      await tick(50)
      expect(state()).toBe('open')
    })

    it('a time limit that passes in the queue does not', async () => {
      const ask = kept(
        stack(
          (_: string) => never(),
          timeout({ ms: 50 }),
          breaker({ ...SMALL, minimumCalls: 1 }),
          queue({ concurrency: 1 }),
        ),
      )
      const first = new AbortController()
      watch(ask('x', { signal: first.signal, timeoutMs: 40 }))
      first.abort()
      const calls = Array.from({ length: 4 }, () => watch(ask('x')))
      await tick(50)
      for (const call of calls)
        expect(call.error).toMatchObject({ code: 'TIMEOUT', phase: 'queue' })
      expect(ask.stats().breaker).toMatchObject({ state: 'closed', failures: 0 })
    })

    it('counts decides instead of the default rule', async () => {
      const counts = (error: unknown) => (error as { code?: string }).code === 'RATE_LIMITED'
      const { run, state } = around({ counts })
      await run(fail(), 10)
      expect(state()).toBe('closed')
      await run(fail(upstreamError('RATE_LIMITED')), 4)
      expect(state()).toBe('open')
    })

    it("counts is not asked about the caller's abort", async () => {
      const counts = vi.fn(() => true)
      const { ask } = held({ counts })
      const caller = new AbortController()
      watch(ask('x', { signal: caller.signal }))
      caller.abort()
      await tick()
      expect(counts).not.toHaveBeenCalled()
    })

    it('goes by the default rule when counts throws, with a warning', async () => {
      const said = catchWarnings()
      const counts = () => {
        throw named('CountsIsBroken')
      }
      const { ask, run, state } = around({ counts })
      const error = down()
      expect(await failure(ask(fail(error)))).toBe(error)
      await run(fail(), 3)
      expect(state()).toBe('open')
      expect(said.join()).toContain('CountsIsBroken')
    })
  })

  describe('half-open', () => {
    it('lets exactly one of 50 simultaneous calls through', async () => {
      const { ask, works, state } = held()
      for (let i = 0; i < 4; i++) watch(ask('x'))
      for (const work of works) work.fail(down())
      await tick(500)
      const calls = Array.from({ length: 50 }, () => watch(ask('x')))
      await tick()
      expect(works).toHaveLength(5)
      expect(
        calls.filter(
          (call) => (call.error as { code?: string } | undefined)?.code === 'BREAKER_OPEN',
        ),
      ).toHaveLength(49)
      expect(calls[1]!.error).toMatchObject({ retryAfter: 500 })
      works[4]!.open('well again')
      await tick()
      expect(calls[0]!.value).toBe('well again')
      expect(state()).toBe('closed')
    })

    it('opens again when the trial fails, for the whole time', async () => {
      const { ask, run, open, state } = around()
      await open()
      await tick(500)
      expect(state()).toBe('half-open')
      await run(fail())
      expect(await failure(ask('ok'))).toMatchObject({ retryAfter: 500 })
      expect(ask.stats().breaker.opened).toBe(2)
    })

    it.each([
      ['a mistake of the caller', upstreamError('BAD_REQUEST')],
      ['a rate limit', upstreamError('RATE_LIMITED')],
      ['a refusal', new QueueFullError(1)],
      ['an unread stream', new TimeoutError(5, { phase: 'read' })],
    ])('takes %s for no verdict, and gives the permit back', async (_, error) => {
      const { run, open, state, calls } = around()
      await open()
      await tick(500)
      await run(fail(error))
      expect(state()).toBe('half-open')
      await run(fail(error))
      expect(state()).toBe('half-open')
      expect(calls()).toBe(6)
      await run('ok')
      expect(state()).toBe('closed')
    })

    it('gives the permit back when the trial is aborted', async () => {
      const { ask, works, state } = held()
      for (let i = 0; i < 4; i++) watch(ask('x'))
      for (const work of works) work.fail(down())
      await tick(500)
      const caller = new AbortController()
      watch(ask('x', { signal: caller.signal }))
      await tick()
      caller.abort()
      await tick()
      expect(state()).toBe('half-open')
      watch(ask('x'))
      await tick()
      expect(works).toHaveLength(6)
      works[5]!.open('ok')
      await tick()
      expect(state()).toBe('closed')
    })

    it('gives the permit back when the trial has no verdict for resetMs, and does not wait for it', async () => {
      const { ask, works, state } = held()
      for (let i = 0; i < 4; i++) watch(ask('x'))
      for (const work of works) work.fail(down())
      await tick(500)
      watch(ask('hangs'))
      await tick(499)
      expect(await failure(ask('x'))).toMatchObject({ code: 'BREAKER_OPEN', retryAfter: 1 })
      await tick(1)
      watch(ask('second trial'))
      await tick()
      expect(works).toHaveLength(6)
      works[4]!.open('far too late')
      await tick()
      expect(state()).toBe('half-open')
      works[5]!.open('ok')
      await tick()
      expect(state()).toBe('closed')
    })

    it('is not closed by the late success of a call that began before the opening', async () => {
      const { ask, works, state } = held()
      const late = watch(ask('x'))
      for (let i = 0; i < 4; i++) watch(ask('x'))
      for (const work of works.slice(1)) work.fail(down())
      await tick(500)
      works[0]!.open('late')
      await tick()
      expect(late.value).toBe('late')
      expect(state()).toBe('half-open')
      expect(ask.stats().breaker.successes).toBe(1)
    })
  })

  it('begins a new window when it closes: one failure does not open it again', async () => {
    const { run, open, state } = around()
    await open()
    await tick(500)
    await run('ok')
    await run(fail(), 3)
    expect(state()).toBe('closed')
    await run(fail())
    expect(state()).toBe('open')
  })

  describe('around streams', () => {
    const streams = (options: BreakerOptions = {}) => {
      const ask = kept(
        stack(
          (make: () => AsyncGenerator<number>) => Promise.resolve(make()),
          breaker({ ...SMALL, minimumCalls: 1, ...options }),
        ),
      )
      return { ask, stats: () => ask.stats().breaker }
    }

    it('gives its verdict at the end, not at the beginning', async () => {
      const { ask, stats } = streams()
      const stream = await ask(() => numbers(2))
      expect(stats().successes).toBe(0)
      await stream.next()
      await stream.next()
      expect(stats().successes).toBe(0)
      await stream.next()
      expect(stats().successes).toBe(1)
    })

    it('counts one that breaks half-way', async () => {
      const { ask, stats } = streams()
      expect(await failure(collect(await ask(() => breaking(2, down()))))).toMatchObject({
        code: 'SERVER',
      })
      expect(stats()).toMatchObject({ state: 'open', failures: 1, successes: 0 })
    })

    it('gives no verdict on one that its reader leaves', async () => {
      const { ask, stats } = streams()
      for await (const _ of await ask(() => numbers(5))) break
      expect(stats()).toEqual({
        state: 'closed',
        successes: 0,
        failures: 0,
        slow: 0,
        rejected: 0,
        opened: 0,
        heard: 0,
        circuits: { open: 0, halfOpen: 0, total: 0 },
      })
    })

    it('gives no verdict on one that its caller aborts half-way', async () => {
      const { ask, stats } = streams()
      const caller = new AbortController()
      const stream = await ask(() => numbers(5), { signal: caller.signal })
      await stream.next()
      caller.abort('enough')
      expect(await failure(stream.next())).toBe('enough')
      expect(stats()).toMatchObject({ state: 'closed', failures: 0 })
    })

    it('gives no verdict on one that nobody reads', async () => {
      const { ask, stats } = streams()
      const stream = await ask(() => numbers(5))
      await tick(30_000)
      expect(await failure(stream.next())).toMatchObject({ code: 'TIMEOUT', phase: 'read' })
      expect(stats()).toMatchObject({ state: 'closed', failures: 0 })
    })

    it('holds the one trial to the end of its stream', async () => {
      const { ask, stats } = streams()
      await failure(ask(() => breaking(0, down())))
      await tick(500)
      const stream = await ask(() => numbers(2))
      expect(await failure(ask(() => numbers(2)))).toMatchObject({ code: 'BREAKER_OPEN' })
      await collect(stream)
      expect(stats().state).toBe('closed')
    })

    it('opens at 10 failures while 20 streams are open', async () => {
      const { ask, stats } = streams({ minimumCalls: 10 })
      const long = await Promise.all(Array.from({ length: 20 }, () => ask(() => numbers(9))))
      await Promise.all(long.map((stream) => stream.next()))
      for (let i = 0; i < 10; i++) await failure(collect(await ask(() => breaking(1, down()))))
      expect(stats()).toMatchObject({ state: 'open', failures: 10 })
      for (const stream of long) await stream.return(undefined)
    })
  })

  describe('key', () => {
    const perModel = (options: BreakerOptions = {}) => {
      const ask = kept(
        stack(
          async ({ ok }: { model: string; ok: boolean }) => {
            if (!ok) throw down()
          },
          breaker({
            ...SMALL,
            minimumCalls: 1,
            ...options,
            key: (request: { model: string }) => request.model,
          }),
        ),
      )
      const run = (model: string, ok: boolean) => watch(ask({ model, ok }))
      return { ask, run }
    }

    it('gives one breaker for each model, and the worst for the state', async () => {
      const { ask, run } = perModel()
      expect(ask.stats().breaker.state).toBe('closed')
      run('a', false)
      run('b', true)
      await tick()
      expect(ask.stats().breaker).toMatchObject({ state: 'open', opened: 1, successes: 1 })
      const [a, b] = [run('a', true), run('b', true)]
      await tick()
      expect(a.error).toMatchObject({ code: 'BREAKER_OPEN' })
      expect(b.state).toBe('resolved')
      await tick(500)
      expect(ask.stats().breaker.state).toBe('half-open')
      run('a', true)
      await tick()
      expect(ask.stats().breaker.state).toBe('closed')
    })

    it('counts the circuits that are not closed or had calls in the window', async () => {
      const { ask, run } = perModel()
      const circuits = () => ask.stats().breaker.circuits
      run('a', false)
      run('b', true)
      run('c', true)
      await tick()
      expect(circuits()).toEqual({ open: 1, halfOpen: 0, total: 3 })
      await tick(500)
      expect(circuits()).toEqual({ open: 0, halfOpen: 1, total: 3 })
      await tick(2_000)
      expect(circuits()).toEqual({ open: 0, halfOpen: 1, total: 1 })
    })

    it("'model' gives one circuit for each model that the base reports", async () => {
      const ask = kept(
        stack(
          base(
            async ({ ok }: { model?: string; ok: boolean }) => {
              if (!ok) throw down()
            },
            { model: ({ model }) => model },
          ),
          breaker({ ...SMALL, minimumCalls: 1, key: 'model' }),
        ),
      )
      const outcome = (model: string | undefined, ok: boolean) =>
        ask({ ...(model !== undefined && { model }), ok }).then(
          () => 'ok',
          (error) => error.code,
        )
      expect(await outcome('a', false)).toBe('SERVER')
      expect(await outcome('a', true)).toBe('BREAKER_OPEN')
      expect(await outcome('b', true)).toBe('ok')
      expect(await outcome(undefined, false)).toBe('SERVER')
      expect(await outcome(undefined, true)).toBe('BREAKER_OPEN')
      expect(await outcome('b', true)).toBe('ok')
    })

    it("'model' gives one circuit for all requests of a base that knows no models", async () => {
      const { run, open, state } = around({ key: 'model' })
      await open()
      await tick(500)
      await run('ok')
      expect(state()).toBe('closed')
    })

    it("'model' gives one circuit, with a warning, when the trait throws", async () => {
      const warnings = catchWarnings()
      const model = () => {
        throw new Error('no model')
      }
      const ask = kept(
        stack(
          base(async () => 1, { model }),
          breaker({ key: 'model' }),
        ),
      )
      expect(await ask()).toBe(1)
      expect(warnings).toEqual(['model() threw Error; the call went on.'])
    })

    it('gives onStateChange the key', async () => {
      const changes: unknown[] = []
      const { run } = perModel({ onStateChange: (state, key) => changes.push([state, key]) })
      run('a', false)
      await tick(500)
      run('a', true)
      await tick()
      expect(changes).toEqual([
        ['open', 'a'],
        ['half-open', 'a'],
        ['closed', 'a'],
      ])
    })

    it('keeps the 1000 used last, and no timer of the others', async () => {
      const { run } = perModel()
      run('first', false)
      await tick()
      for (let i = 0; i < 1_200; i++) run(`model ${i}`, true)
      await tick()
      expect(vi.getTimerCount()).toBe(0)
      const again = run('first', true)
      await tick()
      expect(again.state).toBe('resolved')
    })

    it('fails the call with what a key that throws has thrown', async () => {
      const error = new Error('no model')
      const ask = kept(
        stack(
          async () => 1,
          breaker({
            key: () => {
              throw error
            },
          }),
        ),
      )
      expect(await failure(ask())).toBe(error)
    })
  })

  describe('onStateChange', () => {
    it('tells every change once, in order', async () => {
      const changes: unknown[] = []
      const { run, open } = around({ onStateChange: (...change) => changes.push(change) })
      await open()
      await tick(500)
      await run(fail())
      await tick(500)
      await run('ok')
      expect(changes).toEqual(
        ['open', 'half-open', 'open', 'half-open', 'closed'].map((state) => [state, undefined]),
      )
    })

    it('changes nothing when it throws, with a warning', async () => {
      const said = catchWarnings()
      const error = down()
      const { ask, run, open, state } = around({
        onStateChange: () => {
          throw named('OnStateChangeIsBroken')
        },
      })
      await open()
      await tick(500)
      expect(await failure(ask(fail(error)))).toBe(error)
      await tick(500)
      await run('ok')
      expect(state()).toBe('closed')
      expect(said.join()).toContain('OnStateChangeIsBroken')
    })
  })

  describe('closing', () => {
    it('clears its clock, with and without a key', async () => {
      const failing = async (_: string) => {
        throw down()
      }
      const one = stack(failing, breaker({ minimumCalls: 1 }))
      const many = stack(failing, breaker({ minimumCalls: 1, key: (key: string) => key }))
      for (const call of [one('x'), many('a'), many('b')]) await failure(call)
      await tick()
      expect(vi.getTimerCount()).toBe(1)
      await Promise.all([one.close(), many.close()])
      expect(vi.getTimerCount()).toBe(0)
    })

    it('starts none anew for a trial that ends when all is over', async () => {
      const work = gate<string>()
      let calls = 0
      const ask = stack(
        async () => {
          if (calls++ === 0) throw down()
          return work.promise
        },
        breaker({ ...SMALL, minimumCalls: 1 }),
      )
      await failure(ask())
      await tick(500)
      const trial = watch(ask())
      const closed = watch(ask.close({ timeoutMs: 0 }))
      await tick(2_000)
      expect(trial.error).toMatchObject({ code: 'CLOSED' })
      expect(closed.state).toBe('resolved')
      work.open('heeds no signal')
      await tick()
      expect(vi.getTimerCount()).toBe(0)
    })

    it('keeps its state while another stack still uses it', async () => {
      const layer = breaker({ ...SMALL, minimumCalls: 1 })
      const base = async () => {
        throw down()
      }
      const one = stack(base, layer)
      const other = kept(stack(base, layer))
      await failure(one())
      await one.close()
      expect(await failure(other())).toMatchObject({ code: 'BREAKER_OPEN' })
    })
  })

  describe('options', () => {
    it.each([
      ['a failureRate of 0', { failureRate: 0 }, '"failureRate"'],
      ['a failureRate in percent', { failureRate: 50 }, '"failureRate"'],
      ['a failureRate of NaN', { failureRate: Number.NaN }, '"failureRate"'],
      ['a minimum of 0 calls', { minimumCalls: 0 }, '"minimumCalls"'],
      ['half a call', { minimumCalls: 1.5 }, '"minimumCalls"'],
      ['a window of 0', { windowMs: 0 }, '"windowMs"'],
      ['a window of a month', { windowMs: 30 * 24 * 3_600_000 }, '"windowMs"'],
      ['a negative resetMs', { resetMs: -1 }, '"resetMs"'],
      ['a resetMs beyond what a timer holds', { resetMs: 2 ** 31 }, '"resetMs"'],
      ['a key that is neither "model" nor a function', { key: 'tenant' }, '"key"'],
      ["opossum's own options", { errorThresholdPercentage: 50 }, '"errorThresholdPercentage"'],
    ])('refuses %s', (_, options, words) => {
      expect(() => breaker(options as never)).toThrow(
        expect.objectContaining({
          code: 'CONFIG',
          layer: 'breaker',
          message: expect.stringContaining(words),
        }),
      )
    })
  })

  it('says so when it is placed inside a queue or a pool', () => {
    const { hooks } = breaker()
    expect(hooks.outside).toMatchObject({ queue: expect.any(String), pool: expect.any(String) })
    hooks.close?.()
  })

  describe('against a reference', () => {
    const RULES = { failureRate: 0.5, minimumCalls: 2, windowMs: 1_000, resetMs: 700 }
    type Verdict = 'ok' | 'fail' | 'ignored' | 'abort'

    /** What a breaker should be, as plainly as can be said. */
    class Reference {
      state: BreakerState = 'closed'
      #window = {}
      #began = performance.now()
      #openedAt = 0
      #trial: { at: number } | undefined
      #verdicts: { slice: number; failed: boolean }[] = []

      /** Tenths of the window since it began. */
      get #slice() {
        return Math.floor((performance.now() - this.#began) / (RULES.windowMs / 10))
      }

      tick() {
        if (this.state === 'open' && performance.now() >= this.#openedAt + RULES.resetMs)
          this.state = 'half-open'
      }

      enter() {
        if (this.state === 'open') return undefined
        if (this.state === 'closed') return { window: this.#window, trial: undefined }
        if (this.#trial && performance.now() < this.#trial.at + RULES.resetMs) return undefined
        this.#trial = { at: performance.now() }
        return { window: this.#window, trial: this.#trial }
      }

      settle({ window, trial }: { window: object; trial: object | undefined }, verdict: Verdict) {
        if (window !== this.#window || trial !== (trial && this.#trial)) return
        if (trial) this.#trial = undefined
        if (verdict === 'ignored' || verdict === 'abort') return
        if (trial) return verdict === 'ok' ? this.#close() : this.#open()
        this.#verdicts.push({ slice: this.#slice, failed: verdict === 'fail' })
        const recent = this.#verdicts.filter(({ slice }) => slice > this.#slice - 10)
        const failures = recent.filter(({ failed }) => failed).length
        if (
          failures > 0 &&
          recent.length >= RULES.minimumCalls &&
          failures / recent.length >= RULES.failureRate
        )
          this.#open()
      }

      #open() {
        this.state = 'open'
        this.#openedAt = performance.now()
        this.#window = {}
        this.#trial = undefined
      }

      #close() {
        this.state = 'closed'
        this.#window = {}
        this.#began = performance.now()
        this.#verdicts = []
      }
    }

    interface Running {
      readonly work: Gate<string>
      readonly caller: AbortController
      readonly permit: { window: object; trial: object | undefined }
    }
    interface Model {
      readonly reference: Reference
      running: Running[]
    }
    interface Real {
      ask(request: string, options: CallOptions): Promise<string>
      state(): BreakerState
      works: Gate<string>[]
    }

    class Begin implements fc.AsyncCommand<Model, Real> {
      check = () => true
      async run(model: Model, real: Real) {
        const permit = model.reference.enter()
        const caller = new AbortController()
        const before = real.works.length
        const call = watch(real.ask('x', { signal: caller.signal }))
        await tick()
        const work = real.works[before]
        expect(work !== undefined, 'let through').toBe(permit !== undefined)
        if (permit && work) model.running.push({ work, caller, permit })
        else expect(call.error).toMatchObject({ code: 'BREAKER_OPEN' })
        expect(real.state()).toBe(model.reference.state)
      }
      toString = () => 'begin'
    }

    class Settle implements fc.AsyncCommand<Model, Real> {
      readonly which: number
      readonly verdict: Verdict
      constructor(which: number, verdict: Verdict) {
        this.which = which
        this.verdict = verdict
      }
      check = (model: Readonly<Model>) => model.running.length > 0
      async run(model: Model, real: Real) {
        const [{ work, caller, permit }] = model.running.splice(
          this.which % model.running.length,
          1,
        ) as [Running]
        if (this.verdict === 'ok') work.open('ok')
        else if (this.verdict === 'fail') work.fail(down())
        else if (this.verdict === 'ignored') work.fail(upstreamError('BAD_REQUEST'))
        else caller.abort()
        await tick()
        model.reference.settle(permit, this.verdict)
        expect(real.state()).toBe(model.reference.state)
      }
      toString = () => `${this.verdict}(${this.which})`
    }

    class Tick implements fc.AsyncCommand<Model, Real> {
      readonly ms: number
      constructor(ms: number) {
        this.ms = ms
      }
      check = () => true
      async run(model: Model, real: Real) {
        await tick(this.ms)
        model.reference.tick()
        expect(real.state()).toBe(model.reference.state)
      }
      toString = () => `tick(${this.ms})`
    }

    it('has the same state after every command, for any sequence of them', async () => {
      const commands = fc.commands(
        [
          fc.constant(new Begin()),
          fc.constant(new Begin()),
          fc
            .tuple(fc.nat(20), fc.constantFrom<Verdict>('ok', 'fail', 'fail', 'ignored', 'abort'))
            .map((of) => new Settle(...of)),
          fc
            .tuple(fc.nat(20), fc.constantFrom<Verdict>('ok', 'fail', 'fail', 'ignored', 'abort'))
            .map((of) => new Settle(...of)),
          fc
            .oneof(fc.integer({ min: 1, max: 400 }), fc.constantFrom(100, 699, 700, 1_000))
            .map((ms) => new Tick(ms)),
        ],
        { maxCommands: 60, size: 'max' },
      )
      const changes: BreakerState[] = []
      await fc.assert(
        fc.asyncProperty(commands, async (commands) => {
          const { ask, works, state } = held({
            ...RULES,
            onStateChange: (state) => changes.push(state),
          })
          const real: Real = { ask, works, state }
          await fc.asyncModelRun(
            () => ({ model: { reference: new Reference(), running: [] }, real }),
            commands,
          )
          for (const work of works) work.open('over')
          await ask.close()
        }),
        { numRuns: 80 },
      )
      // The histories were worth having.
      for (const state of ['open', 'half-open', 'closed'])
        expect(changes.filter((change) => change === state).length).toBeGreaterThan(10)
    })
  })
})
