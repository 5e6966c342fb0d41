import { describe, expect, it } from 'vitest'
import {
  base,
  breaker,
  type Context,
  collect,
  fallback,
  type StackError,
  stack,
  timeout,
} from '../../../../src/index.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { breaking, numbers } from '../../../support/streams.js'
import { upstreamError } from '../../../support/upstream.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()

interface Ask {
  readonly model: string
  readonly own?: boolean
}

/** A function of models, some of which are down. */
function models(...down: string[]) {
  const broken = new Map<string, unknown>(down.map((name) => [name, upstreamError('SERVER')]))
  const asked: string[] = []
  const fn = base(
    async ({ model }: Ask): Promise<unknown> => {
      asked.push(model)
      if (broken.has(model)) throw broken.get(model)
      return model
    },
    {
      model: ({ model }) => model,
      withModel: (ask, model) => ({ ...ask, model }),
      ownKey: ({ own }) => own === true,
    },
  )
  /** Who has been asked since the last look. */
  const since = () => asked.splice(0)
  return { fn, broken, since }
}

const FIRST = { model: 'first' }

describe('fallback', () => {
  it('skips a candidate for 30 s after three failures within 60 s', async () => {
    const { fn, since } = models('first')
    const ask = stack(fn, fallback({ to: ['second'] }))
    for (let i = 0; i < 3; i++) {
      await tick(10_000)
      expect(await ask(FIRST)).toBe('second')
      expect(since()).toEqual(['first', 'second'])
    }
    await tick(29_999)
    const meta = new Map<string, unknown>()
    expect(await ask(FIRST, { meta })).toBe('second')
    expect(since()).toEqual(['second'])
    expect(meta.get('fallback')).toEqual({ candidate: 1, model: 'second' })
    await tick(1)
    await ask(FIRST)
    expect(since()).toEqual(['first', 'second'])
  })

  it('skips the candidate again when its first call after that fails', async () => {
    const { fn, since } = models('first')
    const ask = stack(fn, fallback({ to: ['second'] }))
    for (let i = 0; i < 3; i++) await ask(FIRST)
    await tick(30_000)
    await ask(FIRST)
    since()
    await ask(FIRST)
    expect(since()).toEqual(['second'])
  })

  it('does not add up failures more than 60 s apart or with a success between them', async () => {
    const { fn, broken, since } = models('first')
    const ask = stack(fn, fallback({ to: ['second'] }))
    for (let i = 0; i < 5; i++) {
      await ask(FIRST)
      await tick(30_001)
    }
    expect(since().filter((name) => name === 'first').length).toBe(5)
    for (let i = 0; i < 10; i++) {
      if (i % 3 === 0) broken.delete('first')
      else broken.set('first', upstreamError('SERVER'))
      await ask(FIRST)
    }
    expect(since().filter((name) => name === 'first').length).toBe(10)
  })

  it('counts each model separately, wherever it stands in the list', async () => {
    const { fn, since } = models('first', 'second')
    const ask = stack(fn, fallback({ to: ['second', 'third'] }))
    for (let i = 0; i < 3; i++) await ask({ model: 'second' })
    since()
    await ask(FIRST)
    expect(since()).toEqual(['first', 'third'])
    await ask({ model: 'fourth' })
    expect(since()).toEqual(['fourth'])
  })

  it('asks the skipped candidates when no others are left', async () => {
    const { fn, broken, since } = models('first', 'second')
    const ask = stack(fn, fallback({ to: ['second'] }))
    for (let i = 0; i < 3; i++) await failure(ask(FIRST))
    since()
    await failure(ask(FIRST))
    expect(since()).toEqual(['first', 'second'])
    broken.delete('second')
    await ask(FIRST)
    since()
    expect(await ask(FIRST)).toBe('second')
    expect(since()).toEqual(['second'])
    broken.set('second', upstreamError('SERVER'))
    await failure(ask(FIRST))
    expect(since()).toEqual(['second', 'first'])
  })

  it('skips a stack or a function too', async () => {
    const { fn } = models('first')
    let calls = 0
    const down = async (_: Ask): Promise<unknown> => {
      calls++
      throw upstreamError('SERVER')
    }
    const ask = stack(fn, fallback({ to: [stack(down), down, 'second'] }))
    for (let i = 0; i < 5; i++) expect(await ask(FIRST)).toBe('second')
    expect(calls).toBe(6)
  })

  it('counts a stream by how it ends', async () => {
    let asked = 0
    const fn = async (_: string): Promise<unknown> => {
      asked++
      return breaking(2, upstreamError('STREAM'))
    }
    const ask = stack(fn, fallback({ to: [() => numbers(1)] }))
    for (let i = 0; i < 5; i++)
      await collect((await ask('x')) as AsyncIterable<unknown>).catch(() => {})
    expect(asked).toBe(3)
  })

  it('counts a missed deadline against the candidate that was too slow', async () => {
    let asked = 0
    const fn = (_: string, { cancel }: Context) => {
      asked++
      return new Promise<unknown>((_, reject) => cancel.add({ abort: reject }))
    }
    const ask = stack(fn, timeout({ ms: 1_000 }), fallback({ to: [() => 'instead'] }))
    for (let i = 0; i < 3; i++) {
      const call = watch(ask('x'))
      await tick(1_000)
      expect(call.error).toMatchObject({ code: 'TIMEOUT' })
    }
    expect(await ask('x')).toBe('instead')
    expect(asked).toBe(3)
  })

  it('does not count an abort by the caller', async () => {
    const asked: string[] = []
    const fn = (request: string, { cancel }: Context) => {
      asked.push(request)
      return new Promise<unknown>((_, reject) => cancel.add({ abort: reject }))
    }
    const ask = stack(fn, fallback({ to: [() => 'instead'] }))
    for (let i = 0; i < 5; i++) {
      const caller = new AbortController()
      const call = failure(ask('x', { signal: caller.signal }))
      caller.abort()
      await call
    }
    expect(asked.length).toBe(5)
  })

  it('does not count calls refused at once, as they cost nothing', async () => {
    const { fn, broken, since } = models('first')
    const ask = stack(
      fn,
      fallback({ to: [() => 'instead'] }),
      breaker({ minimumCalls: 1, resetMs: 1_000 }),
    )
    for (let i = 0; i < 5; i++) await ask(FIRST)
    expect(since()).toEqual(['first'])
    broken.delete('first')
    await tick(1_000)
    expect(await ask(FIRST)).toBe('first')
    await ask.close()
  })

  it("does not count the refusal of a call's own key", async () => {
    const { fn, broken, since } = models()
    broken.set('first', upstreamError('PAYMENT'))
    const ask = stack(fn, fallback({ to: ['second'] }))
    for (let i = 0; i < 5; i++) await ask({ ...FIRST, own: true })
    since()
    await ask(FIRST)
    expect(since()).toEqual(['first', 'second'])
  })

  it('does not count failures that no other candidate could avoid', async () => {
    const { fn, broken } = models()
    broken.set('first', upstreamError('BAD_REQUEST'))
    const ask = stack(fn, fallback({ to: ['second'] }))
    for (let i = 0; i < 5; i++)
      expect(((await failure(ask(FIRST))) as StackError).code).toBe('BAD_REQUEST')
  })
})
