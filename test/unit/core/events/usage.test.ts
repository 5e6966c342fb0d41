import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  base,
  type Context,
  collect,
  LISTEN,
  type StackEvent,
  stack,
  type TokenUsage,
} from '../../../../src/core/index.js'
import { batcher } from '../../../../src/layers/batcher/index.js'
import { cache } from '../../../../src/layers/cache/index.js'
import { dedupe } from '../../../../src/layers/dedupe/index.js'
import { fallback } from '../../../../src/layers/fallback/index.js'
import { retry } from '../../../../src/layers/retry/index.js'
import { gate } from '../../../support/gate.js'
import { ofType, recordedEvents } from '../../../support/recorded-events.js'
import { upstreamError } from '../../../support/upstream.js'
import { catchWarnings } from '../../../support/warnings.js'
import { failure } from '../../../support/watch.js'

afterEach(() => {
  vi.restoreAllMocks()
})

interface Asked {
  model: string
  fails?: number
}
interface Answer {
  model: string
  tokens: TokenUsage
}

/** Answers with ten tokens of input and as many of output as calls were made so far. */
function counting(traits: object = {}) {
  let calls = 0
  const ask = async ({ model, fails = 0 }: Asked): Promise<Answer> => {
    calls++
    if (calls <= fails) throw upstreamError('SERVER')
    return { model: `${model}-1`, tokens: { input: 10, output: calls } }
  }
  return base(ask, {
    operation: () => 'chat',
    model: ({ model }: Asked) => model,
    usage: (answer: unknown) => (answer as Answer).tokens,
    reports: (answer: unknown) => ({ model: (answer as Answer).model, finishReason: 'stop' }),
    price: (_model: string, { input, output }: TokenUsage) => (input + output * 2) / 2 ** 20,
    ...traits,
  })
}

const tokensOf = (answer: unknown) => (answer as Answer).tokens

/** Of all attempts that have ended. */
const tokensIn = (events: readonly StackEvent[]) =>
  ofType(events, 'attempt:end').map(({ usage }) => usage?.input)

describe('the ends of calls and attempts', () => {
  it('report what was asked, what answered, and what it cost', async () => {
    const events = recordedEvents()
    await stack(counting())({ model: 'small' }, { tenant: 'gold' })
    const known = {
      operation: 'chat',
      model: 'small',
      tenant: 'gold',
      responseModel: 'small-1',
      finishReason: 'stop',
      usage: { input: 10, output: 1 },
      cost: 12 / 2 ** 20,
    }
    expect(ofType(events, 'attempt:end')).toMatchObject([known])
    expect(ofType(events, 'call:end')).toMatchObject([known])
    expect(ofType(events, 'call:start')).toMatchObject([
      { operation: 'chat', model: 'small', tenant: 'gold' },
    ])
    expect(ofType(events, 'call:end').every(({ usage }) => Object.isFrozen(usage))).toBe(true)
  })

  it('report the operation, model and code of a failure', async () => {
    const events = recordedEvents()
    await failure(stack(counting())({ model: 'small', fails: 1 }))
    const known = { outcome: 'failed', operation: 'chat', model: 'small', code: 'SERVER' }
    for (const type of ['attempt:end', 'call:end'] as const) {
      expect(ofType(events, type)).toMatchObject([known])
      expect(ofType(events, type)[0]).not.toHaveProperty('usage')
    }
  })

  it('report what the last chunk of a stream says', async () => {
    const events = recordedEvents()
    const chunks = [
      { model: 'm-1' },
      { tokens: { input: 3, output: 1 } },
      { tokens: { input: 3, output: 7, cachedInput: 2, reasoning: 4 }, reason: 'length' },
    ]
    async function* count() {
      yield* chunks
    }
    const ask = base(count, {
      usage: (chunk) => (chunk as { tokens?: TokenUsage }).tokens,
      reports: (chunk) => {
        const { model, reason } = chunk as { model?: string; reason?: string }
        return { model, finishReason: reason }
      },
    })
    await collect(await stack(ask)(undefined as never))
    for (const type of ['attempt:end', 'call:end'] as const)
      expect(ofType(events, type)).toMatchObject([
        {
          stream: true,
          responseModel: 'm-1',
          finishReason: 'length',
          usage: { input: 3, output: 7, cached: 2, reasoning: 4 },
        },
      ])
  })

  it('add up the cost of several attempts in the end of the call', async () => {
    const events = recordedEvents()
    let accepted = 0
    const ask = stack(counting(), retry({ minDelayMs: 0, accept: () => ++accepted > 1 }))
    await ask({ model: 'small' })
    expect(tokensIn(events)).toEqual([10, 10])
    const [end] = ofType(events, 'call:end')
    expect(end?.usage).toEqual({ input: 20, output: 3 })
    expect(end?.cost).toBe(26 / 2 ** 20)
  })

  it('name the model of each attempt when a different one answers', async () => {
    const events = recordedEvents()
    const ask = counting({ withModel: (_: Asked, model: string) => ({ model }) })
    await stack(ask, fallback({ to: ['large'] }))({ model: 'small', fails: 1 })
    expect(ofType(events, 'attempt:end').map(({ model }) => model)).toEqual(['small', 'large'])
    expect(ofType(events, 'call:end')).toMatchObject([
      { model: 'small', responseModel: 'large-1', usage: { input: 10, output: 2 } },
    ])
  })
})

describe('usage', () => {
  it('is counted once for a hit', async () => {
    const events = recordedEvents()
    const ask = stack(counting(), cache())
    await ask({ model: 'small' })
    await ask({ model: 'small' })
    expect(tokensIn(events)).toEqual([10])
    expect(ofType(events, 'call:end').map(({ usage }) => usage?.input)).toEqual([10, undefined])
    expect(ofType(events, 'call:end')[1]).toMatchObject({ operation: 'chat', model: 'small' })
  })

  it('is counted once for all callers who join, even when the first of them leaves', async () => {
    const events = recordedEvents()
    const work = gate<Answer>()
    const ask = stack(
      base(() => work.promise, { usage: tokensOf }),
      dedupe(),
    )
    const leaving = new AbortController()
    const first = failure(ask(1 as never, { signal: leaving.signal }))
    const others = [ask(1 as never), ask(1 as never)]
    leaving.abort(new Error('left'))
    await first
    work.open({ model: 'm', tokens: { input: 10, output: 1 } })
    await Promise.all(others)
    expect(tokensIn(events)).toEqual([10])
    expect(ofType(events, 'call:end').filter(({ usage }) => usage)).toEqual([])
  })

  it('is counted once for a batch', async () => {
    const events = recordedEvents()
    const double = stack(
      base(async (all: number[]) => all.map((n) => n * 2), {
        usage: () => ({ input: 10, output: 1 }),
      }),
      batcher({ maxDelayMs: 1 }),
    )
    await Promise.all([double([1]), double([2])])
    expect(tokensIn(events)).toEqual([10])
  })

  type Ask = (asked: Asked, context: Context) => Promise<Answer>

  it.each<[string, (inner: Ask) => Ask]>([
    ['a stack', (inner) => stack(inner, retry()) as never],
    [
      'a function that asks a stack',
      (inner) => {
        const ask: Ask = async (asked, context) => inner(asked, context)
        return stack(base(ask, { usage: tokensOf }), retry()) as never
      },
    ],
    [
      'a function that asks with a context of its own',
      (inner) => {
        const ask: Ask = async (asked, context) => inner(asked, context.derive({ priority: 1 }))
        return stack(base(ask, { usage: tokensOf })) as never
      },
    ],
  ])('is counted once when the base is %s', async (_what, around) => {
    const events = recordedEvents()
    const ask = around(stack(counting()) as never) as (asked: Asked) => Promise<Answer>
    await ask({ model: 'small' })
    const ends = ofType(events, 'attempt:end')
    expect(ends.filter(({ usage }) => usage)).toHaveLength(1)
    expect(ends.map(({ nested }) => nested)).toEqual([undefined, true])
    const [outside, inside] = ofType(events, 'call:start')
    expect(inside).toMatchObject({ parent: outside?.call, attempt: 1 })
  })

  it('does not mark an attempt as nested when it fails before another client is asked', async () => {
    const events = recordedEvents()
    const tokens = { input: 10, output: 1 }
    const other = stack(async (_: Asked): Promise<Answer> => ({ model: 'other', tokens }))
    await stack(counting(), fallback({ to: [other] as never }))({ model: 'small', fails: 1 })
    expect(ofType(events, 'attempt:end').map(({ nested }) => nested)).toEqual([
      undefined,
      undefined,
    ])
  })

  it('is left out when it is not a number, whatever a base gives', async () => {
    catchWarnings()
    const events = recordedEvents()
    const odd = [
      { input: '5', output: 1 },
      { input: Number.NaN, output: 1 },
      { input: -1, output: 1 },
    ]
    for (const tokens of [...odd, null, 'none'])
      await stack(
        counting({
          usage: () => tokens,
          model: () => 5,
          price: () => 'dear',
          operation: () => ({}),
        }),
      )({ model: 'small' })
    const throwing = () => {
      throw new Error('secret')
    }
    await stack(counting({ usage: throwing, reports: throwing, price: throwing }))({ model: 'm' })
    for (const end of ofType(events, 'attempt:end')) {
      expect(end.usage).toBeUndefined()
      expect(end.cost).toBeUndefined()
      expect([undefined, 'm']).toContain(end.model)
    }
  })

  it('keeps only the beginning of a name that is too long', async () => {
    const events = recordedEvents()
    await stack(counting())({ model: 'm'.repeat(10_000) }, { tenant: 't'.repeat(10_000) })
    expect(ofType(events, 'call:end')).toMatchObject([
      { model: 'm'.repeat(128), tenant: 't'.repeat(128), responseModel: 'm'.repeat(128) },
    ])
  })

  it('is not requested while nobody listens', async () => {
    const asked = vi.fn()
    const traits = { usage: asked, reports: asked, price: asked, operation: asked }
    await stack(counting(traits))({ model: 'small' })
    expect(asked).not.toHaveBeenCalled()
    recordedEvents()
    await stack(counting(traits))({ model: 'small' })
    expect(asked).toHaveBeenCalled()
  })
})

describe('a listener of one stack', () => {
  type Listened = { [LISTEN](listener: (event: StackEvent) => void): () => void }

  it('receives the events of that stack alone until it is removed, alongside the listener of the base', async () => {
    const own: string[] = []
    const added: string[] = []
    const ask = stack(counting({ onEvent: ({ type }: StackEvent) => void own.push(type) }))
    const listened = ask as unknown as Listened
    const stop = listened[LISTEN](({ type }) => void added.push(type))
    const twice = listened[LISTEN](() => {
      throw new Error('secret')
    })
    const said = catchWarnings()
    await ask({ model: 'small' })
    await stack(counting())({ model: 'small' })
    expect(added).toEqual(['call:start', 'attempt:start', 'attempt:end', 'call:end'])
    expect(own).toEqual(added)
    expect(said.join()).not.toContain('secret')
    stop()
    stop()
    twice()
    await ask({ model: 'small' })
    expect(added).toHaveLength(4)
    expect(own).toHaveLength(8)
  })

  it('leaves no overhead behind once it is removed', async () => {
    let traced: unknown
    const ask = stack(async (_: unknown, { trace }: Context) => {
      traced = trace
    })
    const stop = (ask as unknown as Listened)[LISTEN](() => {})
    await ask(1)
    expect(traced).toBeDefined()
    stop()
    await ask(1)
    expect(traced).toBeUndefined()
  })
})
