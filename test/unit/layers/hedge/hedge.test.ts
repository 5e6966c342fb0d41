import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, it, vi } from 'vitest'
import {
  base,
  type CallOptions,
  type Context,
  collect,
  onEvent,
  type StackEvent,
  stack,
} from '../../../../src/core/index.js'
import { type HedgeOptions, hedge, timeout } from '../../../../src/index.js'
import { configError } from '../../../support/config-error.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { type Ask, fails, models } from '../../../support/models.js'
import { answers, calls, failsAfter, settleAfter } from '../../../support/slow.js'
import { numbers } from '../../../support/streams.js'
import { upstreamError } from '../../../support/upstream.js'
import { watch } from '../../../support/watch.js'

useFakeTimers()

const soon = (options: HedgeOptions = {}) => hedge({ delayMs: 100, budget: false, ...options })

/** A hedged call of a function that does this, try by try. */
function hedged(...doing: Parameters<typeof calls>) {
  const { fn, contexts } = calls(...doing)
  const ask = stack(fn, soon())
  const meta = new Map<string, unknown>()
  return { ask, call: watch(ask('x', { meta })), contexts, meta }
}

/** A call whose caller leaves then. */
async function leftAfter(
  ms: number,
  ask: (request: string, options: CallOptions) => Promise<unknown>,
) {
  const caller = new AbortController()
  const call = watch(ask('x', { signal: caller.signal }))
  await tick(ms)
  caller.abort('left')
  await tick()
  return call
}

describe('hedge', () => {
  it('makes no second try when the first answers in time', async () => {
    const { ask, call, contexts, meta } = hedged(answers(99, 'first'))
    await tick(99)
    expect(call.value).toBe('first')
    expect(contexts.length).toBe(1)
    expect(meta.has('hedge')).toBe(false)
    expect(ask.stats().hedge).toEqual({ hedged: 0, won: 0, lost: 0, refused: 0 })
  })

  it('takes the answer of the second try when that commits first, and aborts the first', async () => {
    const { ask, call, contexts, meta } = hedged(answers(1_000, 'first'), answers(50, 'second'))
    await tick(100)
    expect(contexts.map(({ optional }) => optional)).toEqual([false, true])
    expect(call.state).toBe('pending')
    await tick(50)
    expect(call.value).toBe('second')
    expect(contexts.map(({ cancel }) => cancel.aborted)).toEqual([true, false])
    expect(contexts[0]!.cancel.reason).toMatchObject({ name: 'AbortError' })
    expect(meta.get('hedge')).toEqual({ won: true, delayMs: 100 })
    expect(ask.stats().hedge).toEqual({ hedged: 1, won: 1, lost: 0, refused: 0 })
  })

  it('takes the answer of the first try when that commits first, and aborts the second', async () => {
    const { ask, call, contexts, meta } = hedged(answers(120, 'first'), answers(50, 'second'))
    await tick(120)
    expect(call.value).toBe('first')
    expect(contexts.map(({ cancel }) => cancel.aborted)).toEqual([false, true])
    expect(meta.get('hedge')).toEqual({ won: false, delayMs: 100 })
    expect(ask.stats().hedge).toEqual({ hedged: 1, won: 0, lost: 1, refused: 0 })
  })

  it('passes on a whole stream that its caller can still abort', async () => {
    async function* slow({ cancel }: Context) {
      yield 'a'
      await settleAfter(1_000, () => {}, { cancel } as Context)
      yield 'b'
    }
    const { fn, contexts } = calls(answers(500, 'first'), (context) => slow(context))
    const ask = stack(fn, soon())
    const caller = new AbortController()
    const opening = ask('x', { signal: caller.signal }) as Promise<AsyncGenerator<string>>
    await tick(100)
    const stream = await opening
    expect(await stream.next()).toEqual({ done: false, value: 'a' })
    const more = watch(stream.next())
    caller.abort('left')
    await tick()
    expect(more.error).toBe('left')
    expect(contexts.map(({ cancel }) => cancel.aborted)).toEqual([true, true])
  })

  it('ends the loser’s stream when it arrives too late', async () => {
    let left = 0
    const late = {
      async *[Symbol.asyncIterator]() {
        try {
          yield 1
          yield 2
        } finally {
          left++
        }
      },
    }
    const { fn } = calls(
      // Work that heeds no abort.
      () => new Promise((resolve) => setTimeout(resolve, 500, late)),
      answers(10, 'second'),
    )
    const ask = stack(fn, soon())
    const call = watch(ask('x'))
    await tick(110)
    expect(call.value).toBe('second')
    await tick(500)
    await ask.close()
    expect(left).toBeLessThanOrEqual(1)
  })

  it('does not take a retryable failure as the answer while the other try runs', async () => {
    const down = upstreamError('SERVER')
    const first = stack(calls(failsAfter(150, down), answers(100, 'second')).fn, soon())
    const second = stack(calls(answers(300, 'first'), failsAfter(10, down)).fn, soon())
    const all = [first, second].map((ask) => watch(ask('x')))
    await tick(300)
    expect(all.map(({ value }) => value)).toEqual(['second', 'first'])
    expect(first.stats().hedge).toMatchObject({ won: 1, lost: 0 })
    expect(second.stats().hedge).toMatchObject({ won: 0, lost: 1 })
  })

  it('rejects with the failure of the first try when both fail', async () => {
    const errors = [upstreamError('SERVER'), upstreamError('NETWORK')]
    for (const [ms1, ms2] of [
      [150, 10],
      [150, 100],
    ] as const) {
      const ask = stack(calls(failsAfter(ms1, errors[0]), failsAfter(ms2, errors[1])).fn, soon())
      const call = watch(ask('x'))
      await tick(250)
      expect(call.error).toBe(errors[0])
      expect(ask.stats().hedge).toMatchObject({ hedged: 1, lost: 1 })
    }
  })

  it('rejects at once when the first try fails before the delay', async () => {
    const { fn, contexts } = calls(failsAfter(50, upstreamError('SERVER')))
    const call = watch(stack(fn, soon())('x'))
    await tick(50)
    expect(call.error).toMatchObject({ code: 'SERVER' })
    await tick(500)
    expect(contexts.length).toBe(1)
  })

  it.each(['AUTH', 'PAYMENT', 'FORBIDDEN', 'BAD_REQUEST'] as const)(
    'ends both tries when one ends with %s',
    async (code) => {
      const error = upstreamError(code)
      const first = calls(failsAfter(150, error), answers(1_000, 'second'))
      const second = calls(answers(1_000, 'first'), failsAfter(50, error))
      for (const { fn, contexts } of [first, second]) {
        const ask = stack(fn, soon())
        const call = watch(ask('x'))
        await tick(150)
        expect(call.error).toBe(error)
        expect(contexts.filter(({ cancel }) => cancel.aborted).length).toBe(1)
        expect(ask.stats().hedge).toEqual({ hedged: 1, won: 0, lost: 1, refused: 0 })
      }
    },
  )

  it.each([400, 401, 402, 403, 422])(
    'ends both tries when one ends with status %i',
    async (status) => {
      const error = Object.assign(new Error('api'), { status })
      const call = watch(
        stack(calls(answers(1_000, 'first'), failsAfter(50, error)).fn, soon())('x'),
      )
      await tick(150)
      expect(call.error).toBe(error)
    },
  )

  it('aborts both tries when the caller leaves, and rejects with the reason', async () => {
    const { fn, contexts } = calls(answers(1_000, 'x'))
    const ask = stack(fn, soon())
    const call = await leftAfter(150, ask)
    expect(call.error).toBe('left')
    expect(contexts.map(({ cancel }) => cancel.reason)).toEqual(['left', 'left'])
    expect(ask.stats().hedge).toMatchObject({ hedged: 1, lost: 1 })
  })

  it('leaves no timer behind when the work ignores the abort', async () => {
    const ask = stack(async (_: string) => new Promise<string>(() => {}), soon())
    const call = await leftAfter(50, ask)
    expect(call.error).toBe('left')
    expect(vi.getTimerCount()).toBe(0)
  })

  it('makes no second try while the stack closes', async () => {
    const { fn, contexts } = calls(answers(200, 'x'))
    const ask = stack(fn, soon())
    const call = watch(ask('x'))
    await tick(50)
    const closed = ask.close()
    await tick(200)
    await closed
    expect(call.value).toBe('x')
    expect(contexts.length).toBe(1)
  })

  it('makes no second try for a request without an identity', async () => {
    const { fn, contexts } = calls(answers(200, 'x'))
    const ask = stack(base(fn, { key: () => undefined }), soon())
    const call = watch(ask('x'))
    await tick(200)
    expect(call.value).toBe('x')
    expect(contexts.length).toBe(1)
    expect(ask.stats().hedge.refused).toBe(0)
  })

  it('makes no second try where upstream would only join it to the first', async () => {
    const { fn, contexts } = calls(answers(200, 'x'))
    const ask = stack(base(fn, { joins: () => true }), soon())
    const call = watch(ask('x'))
    await tick(200)
    expect([call.value, contexts.length]).toEqual(['x', 1])
  })

  it('makes no second try inside a second try', async () => {
    const { fn, contexts } = calls(answers(1_000, 'x'))
    const ask = stack(
      fn,
      hedge({ delayMs: 100, budget: false, name: 'outer' }),
      soon({ delayMs: 10 }),
    )
    const call = watch(ask('x'))
    await tick(1_000)
    expect(call.value).toBe('x')
    expect(contexts.map(({ optional }) => optional)).toEqual([false, true, true])
  })

  it('runs the second try in the async context of the call', async () => {
    const users = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    const ask = stack(async (_: string, context: Context) => {
      seen.push(users.getStore())
      return settleAfter(1_000, () => 'x', context)
    }, soon())
    const all = ['a', 'b'].map((user) => users.run(user, () => watch(ask(user))))
    await tick(1_000)
    expect(all.map(({ value }) => value)).toEqual(['x', 'x'])
    expect(seen.toSorted()).toEqual(['a', 'a', 'b', 'b'])
  })

  it('copies only the notes of the winner outward', async () => {
    const noting = (name: string, ms: number) => (context: Context) => {
      context.meta.set('who', name)
      context.meta.set(name, true)
      context.meta.set('base', { attempts: 1 })
      return settleAfter(ms, () => name, context)
    }
    const meta = new Map<string, unknown>([['mine', 1]])
    const ask = stack(calls(noting('first', 1_000), noting('second', 10)).fn, soon())
    const call = watch(ask('x', { meta }))
    await tick(110)
    expect(call.value).toBe('second')
    expect(meta.get('who')).toBe('second')
    expect(meta.has('first')).toBe(false)
    expect(meta.get('second')).toBe(true)
    expect(meta.get('base')).toEqual({ attempts: 2 })
    expect(meta.get('mine')).toBe(1)
  })

  it('publishes how each second try ends', async () => {
    const events: StackEvent[] = []
    const stop = onEvent((event) => events.push(event))
    for (const ms of [10, 500]) {
      const ask = stack(calls(answers(300, 'first'), answers(ms, 'second')).fn, soon())
      const call = watch(ask('x'))
      await tick(500)
      expect(call.state).toBe('resolved')
    }
    stop()
    const told = events.flatMap((event) =>
      event.type === 'hedge' ? [[event.layer, event.outcome, event.delayMs]] : [],
    )
    expect(told).toEqual([
      ['hedge', 'won', 100],
      ['hedge', 'lost', 100],
    ])
  })

  it('makes no second try when too little time is left', async () => {
    const contexts: Context[] = []
    const late = stack(
      async (request: string, context: Context) => {
        contexts.push(context)
        return settleAfter(request === 'slow' ? 5_000 : 80, () => 'x', context)
      },
      timeout({ ms: 150 }),
      soon({ delayMs: 100 }),
    )
    for (let i = 0; i < 20; i++) {
      const call = late(`${i}`)
      await tick(80)
      await call
    }
    contexts.length = 0
    const call = watch(late('slow'))
    await tick(150)
    expect(call.error).toMatchObject({ code: 'TIMEOUT' })
    expect(contexts.length).toBe(1)
    expect(late.stats().hedge.refused).toBe(1)
  })

  describe('to', () => {
    const slow = (ask: Ask, context: Context) => settleAfter(1_000, () => ask.model, context)

    it('asks another model, and notes which one answered', async () => {
      const { fn, asked } = models({ first: slow, second: () => 'second' })
      const ask = stack(fn, soon({ to: ['first', 'second', 'third'] }))
      const meta = new Map<string, unknown>()
      const call = watch(ask({ model: 'first' }, { meta }))
      await tick(100)
      expect(call.value).toBe('second')
      expect(asked).toEqual(['first', 'second'])
      expect(meta.get('answeredBy')).toEqual({ model: 'second' })
    })

    it('notes the first model when it answers', async () => {
      const { fn } = models({ first: slow, second: fails() })
      const meta = new Map<string, unknown>()
      const call = watch(stack(fn, soon({ to: ['second'] }))({ model: 'first' }, { meta }))
      await tick(1_000)
      expect(call.value).toBe('first')
      expect(meta.get('answeredBy')).toEqual({ model: 'first' })
    })

    it('asks another stack, and ignores it when its key is refused', async () => {
      const { fn } = models({ first: slow })
      let optional: unknown
      const other = stack(async (_: Ask, context: Context): Promise<unknown> => {
        optional = context.optional
        throw upstreamError('AUTH')
      })
      const ask = stack(fn, soon({ to: [{ client: other, model: 'large' }] }))
      const call = watch(ask({ model: 'first' }))
      await tick(1_000)
      expect(call.value).toBe('first')
      expect(optional).toBe(true)
    })

    it('does not ask another stack for a call with its own key', async () => {
      const { fn, asked } = models({ first: slow, second: () => 'second' })
      const other = stack(async (_: Ask): Promise<unknown> => 'other')
      const ask = stack(fn, soon({ to: [other, 'second'] }))
      const call = watch(ask({ model: 'first', own: true }))
      await tick(100)
      expect(call.value).toBe('second')
      expect(asked).toEqual(['first', 'second'])
    })

    it('streams from one try only', async () => {
      const { fn } = models({ first: slow, second: () => numbers(3) })
      const opening = stack(fn, soon({ to: ['second'] }))({ model: 'first' })
      await tick(100)
      expect(await collect((await opening) as AsyncIterable<number>)).toEqual([0, 1, 2])
    })
  })

  describe('refuses', () => {
    it.each<[string, unknown, string]>([
      ['a negative delay', { delayMs: -1 }, 'option "delayMs" must be'],
      [
        'an unknown word',
        { delayMs: 'p99' },
        'option "delayMs" must be one of "p95" or a duration',
      ],
      [
        'bounds in the wrong order',
        { minDelayMs: 5_000, maxDelayMs: 1_000 },
        '"minDelayMs" must be',
      ],
      ['an empty list', { to: [] }, 'option "to" must be a list of at least one target'],
      ['a function', { to: [() => 1] }, 'target 1 must be a model'],
      ['a budget without room', { budget: { size: 0 } }, 'option "size"'],
      ['true as a budget', { budget: true }, 'option "budget" must be false or an object'],
    ])('%s', (_, options, message) => {
      expect(() => hedge(options as never)).toThrow(configError(message))
    })

    it('a model for a function that cannot change its model', () => {
      expect(() => stack(async (_: string) => 1, hedge({ to: ['mistral'] }))).toThrow(
        expect.objectContaining({ code: 'CONFIG' }),
      )
    })
  })
})
