import { describe, expect, it } from 'vitest'
import { collect, onEvent, type StackEvent, stack } from '../../../../src/core/index.js'
import { cache, fallback, timeout } from '../../../../src/index.js'
import { configError } from '../../../support/config-error.js'
import { tick, useFakeTimers } from '../../../support/fake-timers.js'
import { gate, never } from '../../../support/gate.js'
import { type Ask, type Doing, fails, fallingBack, models, says } from '../../../support/models.js'
import { breaking, numbers } from '../../../support/streams.js'
import { type UpstreamCode, upstreamError } from '../../../support/upstream.js'
import { catchWarningsInEachTest } from '../../../support/warnings.js'
import { failure, watch } from '../../../support/watch.js'

useFakeTimers()
const warnings = catchWarningsInEachTest()

const FIRST: Ask = { model: 'first' }

describe('fallback', () => {
  it('asks the other models in order, each once, until one answers', async () => {
    const { ask, asked } = fallingBack(
      { first: fails(), second: fails('NETWORK'), third: says('ok') },
      ['second', 'third', 'fourth'],
    )
    const meta = new Map<string, unknown>()
    expect(await ask(FIRST, { meta })).toBe('ok')
    expect(asked).toEqual(['first', 'second', 'third'])
    expect(meta.get('fallback')).toEqual({ candidate: 2, model: 'third' })
    expect(meta.get('answeredBy')).toEqual({ model: 'third' })
    expect(meta.get('keep')).toBe(0.1)
    expect(ask.stats().fallback).toEqual({ used: 1, exhausted: 0, byCandidate: { third: 1 } })
  })

  it('asks no other model when the first one answers, and notes that', async () => {
    const { ask, asked } = fallingBack({ first: says('ok') }, ['second'])
    const meta = new Map<string, unknown>()
    expect(await ask(FIRST, { meta })).toBe('ok')
    expect(asked).toEqual(['first'])
    expect(meta.get('fallback')).toEqual({ candidate: 0, model: 'first' })
    expect(meta.get('answeredBy')).toEqual({ model: 'first' })
    expect(meta.has('keep')).toBe(false)
    expect(ask.stats().fallback).toEqual({ used: 0, exhausted: 0, byCandidate: {} })
  })

  it('does not ask the failed model again when the list names it', async () => {
    const { ask, asked } = fallingBack({ first: fails(), second: fails() }, [
      'first',
      'second',
      'second',
    ])
    await failure(ask(FIRST))
    expect(asked).toEqual(['first', 'second'])
  })

  it('rejects with the last error, with the others in its cause chain', async () => {
    const errors = ['one', 'two', 'three'].map((text) =>
      Object.assign(upstreamError('SERVER'), { text }),
    )
    const [one, two, three] = errors
    const throwing = (error: unknown) => () => {
      throw error
    }
    const { ask } = fallingBack(
      { first: throwing(one), second: throwing(two), third: throwing(three) },
      ['second', 'third'],
    )
    const meta = new Map<string, unknown>()
    const error = (await failure(ask(FIRST, { meta }))) as Error
    expect(error).toBe(three)
    expect(error.cause).toBe(two)
    expect((error.cause as Error).cause).toBe(one)
    expect(ask.stats().fallback).toEqual({ used: 0, exhausted: 1, byCandidate: {} })
    expect([...meta.keys()].filter((name) => name !== 'timeline')).toEqual([])
  })

  it('gives all candidates one deadline', async () => {
    const deadlines: number[] = []
    const slow: Doing = async (_, context) => {
      deadlines.push(context.deadline)
      await new Promise((resolve) => setTimeout(resolve, 40))
      throw upstreamError('SERVER')
    }
    const { ask, asked } = fallingBack({ first: slow, second: slow, third: slow }, [
      'second',
      'third',
    ])
    const call = watch(ask(FIRST, { timeoutMs: 100 }))
    await tick(99)
    expect(call.state).toBe('pending')
    await tick(1)
    expect(call.error).toMatchObject({ code: 'TIMEOUT', ms: 100 })
    await tick(20)
    expect(asked).toEqual(['first', 'second', 'third'])
    expect(new Set(deadlines).size).toBe(1)
  })

  it('asks no other candidate once the deadline of the call has passed', async () => {
    const { ask, asked } = fallingBack(
      {
        first: async () => {
          await new Promise((resolve) => setTimeout(resolve, 100))
          throw upstreamError('SERVER')
        },
      },
      ['second'],
    )
    const call = watch(ask(FIRST, { timeoutMs: 50 }))
    await tick(200)
    expect(call.error).toMatchObject({ code: 'TIMEOUT' })
    expect(asked).toEqual(['first'])
  })

  it("rejects with the caller's reason, and asks no other candidate", async () => {
    const { ask, asked } = fallingBack(
      {
        first: (_, { signal }) =>
          new Promise((_, reject) =>
            signal.addEventListener('abort', () => reject(upstreamError('NETWORK'))),
          ),
      },
      ['second'],
    )
    const caller = new AbortController()
    const call = watch(ask(FIRST, { signal: caller.signal }))
    await tick()
    const reason = new Error('left')
    caller.abort(reason)
    await tick()
    expect(call.error).toBe(reason)
    expect(asked).toEqual(['first'])
    expect(ask.stats().fallback.exhausted).toBe(0)
  })

  it('asks no other candidate while the stack closes', async () => {
    const { promise, fail } = gate()
    const { ask, asked } = fallingBack({ first: () => promise }, ['second'])
    const call = watch(ask(FIRST))
    await tick()
    const closed = ask.close()
    const error = upstreamError('SERVER')
    fail(error)
    await closed
    expect(call.error).toBe(error)
    expect(asked).toEqual(['first'])
  })

  it('asks another candidate when the function throws synchronously', async () => {
    const ask = stack(
      (_request: string): string => {
        throw new Error('down')
      },
      fallback({ to: [() => 'instead'] }),
    )
    expect(await ask('x')).toBe('instead')
  })

  it('publishes each step with its reason', async () => {
    const events: StackEvent[] = []
    const stop = onEvent((event) => events.push(event))
    const { ask } = fallingBack({ first: fails(), second: fails('RATE_LIMITED') }, [
      'second',
      () => 'value',
    ])
    await ask(FIRST)
    stop()
    const told = events.flatMap((event) =>
      event.type === 'fallback' ? [[event.layer, event.candidate, event.model, event.code]] : [],
    )
    expect(told).toEqual([
      ['fallback', 1, 'second', 'SERVER'],
      ['fallback', 2, undefined, 'RATE_LIMITED'],
    ])
  })

  it('keeps its answer in a cache further out for a tenth of the time', async () => {
    const { fn, asked } = models({ first: fails(), second: says('second') })
    const ask = stack(fn, cache({ ttlMs: 10_000 }), fallback({ to: ['second'] }))
    for (let i = 0; i < 2; i++) expect(await ask(FIRST)).toBe('second')
    expect(asked).toEqual(['first', 'second'])
    await tick(1_001)
    await ask(FIRST)
    expect(asked).toEqual(['first', 'second', 'first', 'second'])
    await ask.close()
  })

  describe('streams', () => {
    it('asks another candidate before the commit', async () => {
      const { ask } = fallingBack(
        { first: () => breaking(0, upstreamError('STREAM')), second: () => numbers(3) },
        ['second'],
      )
      expect(await collect((await ask(FIRST)) as AsyncIterable<number>)).toEqual([0, 1, 2])
    })

    it('asks no other candidate after the commit, and lets the stream break', async () => {
      const error = upstreamError('STREAM')
      const { ask, asked } = fallingBack(
        { first: () => breaking(2, error), second: () => numbers(3) },
        ['second'],
      )
      const chunks: unknown[] = []
      const reading = (async () => {
        for await (const chunk of (await ask(FIRST)) as AsyncIterable<number>) chunks.push(chunk)
      })()
      expect(await failure(reading)).toBe(error)
      expect(chunks).toEqual([0, 1])
      expect(asked).toEqual(['first'])
    })
  })

  describe('when', () => {
    it.each<UpstreamCode>([
      'SERVER',
      'NETWORK',
      'PROTOCOL',
      'STREAM',
      'RATE_LIMITED',
      'AUTH',
      'PAYMENT',
      'FORBIDDEN',
      'NOT_FOUND',
    ])('asks another candidate after %s', async (code) => {
      const { ask } = fallingBack({ first: fails(code), second: says('ok') }, ['second'])
      expect(await ask(FIRST)).toBe('ok')
    })

    it.each<UpstreamCode>(['BAD_REQUEST', 'TOO_LARGE'])(
      'asks no other candidate after %s',
      async (code) => {
        const { ask, asked } = fallingBack({ first: fails(code) }, ['second'])
        expect(await failure(ask(FIRST))).toMatchObject({ code })
        expect(asked).toEqual(['first'])
        expect(ask.stats().fallback.exhausted).toBe(0)
      },
    )

    it('asks another candidate after the time limit of an attempt', async () => {
      const { fn } = models({ first: () => never(), second: says('ok') })
      const ask = stack(fn, fallback({ to: ['second'] }), timeout({ ms: 100 }))
      const call = watch(ask(FIRST))
      await tick(100)
      expect(call.value).toBe('ok')
    })

    it('decides instead of the default rule, and is given the position of the failed candidate', async () => {
      const seen: unknown[] = []
      const { ask, asked } = fallingBack(
        { first: fails('BAD_REQUEST'), second: fails() },
        ['second', 'third'],
        {
          when: (error, candidate) => {
            seen.push([(error as { code: string }).code, candidate])
            return candidate === 0
          },
        },
      )
      expect(await failure(ask(FIRST))).toMatchObject({ code: 'SERVER' })
      expect(asked).toEqual(['first', 'second'])
      expect(seen).toEqual([
        ['BAD_REQUEST', 0],
        ['SERVER', 1],
      ])
    })

    it('costs only a warning when it throws or returns a promise', async () => {
      for (const when of [
        () => {
          throw new Error('x')
        },
        async () => false,
      ] as never[]) {
        const { ask } = fallingBack({ first: fails(), second: says('ok') }, ['second'], { when })
        expect(await ask(FIRST)).toBe('ok')
      }
      expect(warnings.some((text) => text.includes('fallback: when()'))).toBe(true)
    })
  })

  describe('accept', () => {
    const accept = (answer: unknown) => answer === 'good'

    it('asks another candidate when an answer is refused', async () => {
      const { ask, asked } = fallingBack({ first: says('bad'), second: says('good') }, ['second'], {
        accept,
      })
      const meta = new Map<string, unknown>()
      expect(await ask(FIRST, { meta })).toBe('good')
      expect(asked).toEqual(['first', 'second'])
      expect(meta.get('keep')).toBe(0.1)
    })

    it('returns the last answer when all are refused, and keeps it out of caches', async () => {
      const { ask } = fallingBack({ first: says('1'), second: says('2') }, ['second'], { accept })
      const meta = new Map<string, unknown>()
      expect(await ask(FIRST, { meta })).toBe('2')
      expect(meta.get('keep')).toBe(0)
      expect(meta.get('fallback')).toEqual({ candidate: 1, model: 'second' })
      expect(ask.stats().fallback).toEqual({ used: 1, exhausted: 1, byCandidate: { second: 1 } })
    })

    it('returns a refused answer rather than the failure that follows it', async () => {
      const { ask } = fallingBack({ first: says('bad'), second: fails() }, ['second'], { accept })
      const meta = new Map<string, unknown>()
      expect(await ask(FIRST, { meta })).toBe('bad')
      expect(meta.get('keep')).toBe(0)
      expect(meta.get('fallback')).toEqual({ candidate: 0, model: 'first' })
      expect(ask.stats().fallback).toEqual({ used: 0, exhausted: 1, byCandidate: {} })
    })

    it("rejects with the caller's reason when the caller leaves during accept()", async () => {
      const caller = new AbortController()
      const { ask, asked } = fallingBack({ first: says('bad'), second: says('bad') }, ['second'], {
        accept: () => {
          caller.abort('left')
          return false
        },
      })
      expect(await failure(ask(FIRST, { signal: caller.signal }))).toBe('left')
      expect(asked).toEqual(['first'])
      expect(ask.stats().fallback).toMatchObject({ used: 0, exhausted: 0 })
    })

    it('does not judge streams, and accepts the answer when it throws', async () => {
      const { ask } = fallingBack({ first: () => numbers(1), second: says('x') }, ['second'], {
        accept: () => {
          throw new Error('x')
        },
      })
      expect(await collect((await ask(FIRST)) as AsyncIterable<number>)).toEqual([0])
      expect(await ask({ model: 'second' })).toBe('x')
      expect(warnings.some((text) => text.includes('fallback: accept()'))).toBe(true)
    })
  })

  describe('refuses', () => {
    it.each<[string, unknown, string]>([
      ['no options', undefined, 'option "to" must be a list'],
      ['no list', { to: 'mistral' }, 'option "to" must be a list'],
      ['an empty list', { to: [] }, 'option "to" must be a list of at least one candidate'],
      ['an empty name', { to: [''] }, 'candidate 1 must be a model'],
      ['a number', { to: ['a', 5] }, 'candidate 2 must be a model'],
      ['an empty object', { to: [{}] }, 'candidate 1 must have a model or a client'],
      [
        'what is no client',
        { to: [{ client: {} }] },
        'option "client" must be a client or a stack',
      ],
      [
        'endpoints that are no paths',
        { to: [{ model: 'a', endpoints: ['x'] }] },
        'option "endpoints"',
      ],
      ['a layer', { to: [timeout({ ms: 1 })] }, 'candidate 1 is a layer'],
      ['an unknown option', { to: ['a'], models: [] }, 'option "models" is unknown'],
    ])('%s', (_, options, message) => {
      expect(() => fallback(options as never)).toThrow(configError(message))
    })

    it('a model for a function that cannot change its model, when the stack is composed', () => {
      const compose = () => stack(async function ask(_: string) {}, fallback({ to: ['mistral'] }))
      expect(compose).toThrow(
        configError('cannot use the model "mistral" because ask has no withModel trait'),
      )
    })
  })
})
