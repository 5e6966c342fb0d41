import { describe, expect, it } from 'vitest'
import { base, collect, stack } from '../../../src/core/index.js'
import { spy } from '../../support/layers.js'
import { numbers } from '../../support/streams.js'

const factsOf = async (
  fn: Parameters<typeof stack<unknown, unknown, []>>[0],
  request: unknown = 'x',
) => {
  const probe = spy()
  await stack(fn, probe)(request)
  return probe.context.base
}

describe('base', () => {
  it('gives the layers the facts they must not guess, as context.base', async () => {
    const traits = {
      streams: () => false,
      key: () => 'same',
      model: () => 'small',
      withModel: () => 'for another model',
      fromValue: () => 'an answer',
      joins: () => true,
      ownKey: () => true,
      conversation: () => 'the one about tulips',
      weigh: () => ({ input: 3, output: 5 }),
      usage: () => ({ input: 2, output: 1 }),
      commits: () => true,
      complete: () => false,
      valid: () => false,
      toStream: () => [],
      fromStream: () => 'whole',
      split: () => ({ group: 'g', size: 3 }),
      merge: () => ({ request: 'merged', part: () => 'part' }),
      divide: () => ({ requests: ['a', 'b'], join: () => 'joined' }),
      unreadMs: 5,
    }
    const facts = await factsOf(base(async (_: unknown): Promise<unknown> => 1, traits))
    expect(facts.unreadMs).toBe(5)
    const { unreadMs, merge, divide, ...told } = traits
    expect(facts.merge([])).toMatchObject({ request: 'merged' })
    expect(facts.divide?.('request', 1)).toMatchObject({ requests: ['a', 'b'] })
    for (const [name, trait] of Object.entries(told)) {
      expect([name, (facts[name as keyof typeof told] as () => unknown)()]).toEqual([name, trait()])
    }
  })

  it('fills in defaults for the traits left out', async () => {
    const facts = await factsOf(async function ask() {
      return 1
    })
    expect(facts.name).toBe('ask')
    expect(facts.unreadMs).toBe(30_000)
    expect(facts.streams).toBeUndefined()
    expect(facts.model).toBeUndefined()
    expect(facts.withModel).toBeUndefined()
    expect(facts.fromValue).toBeUndefined()
    expect(facts.joins('x')).toBe(false)
    expect(facts.conversation('x')).toBeUndefined()
    expect(facts.usage('x')).toBeUndefined()
    expect(facts.weigh('eight ch')).toEqual({ input: 2 })
    expect(facts.weigh({ a: 'b' })).toEqual({ input: 3 })
    expect(facts.weigh(() => {})).toEqual({ input: 0 })
    expect(facts.toStream).toBeUndefined()
    expect(facts.fromStream).toBeUndefined()
    expect(facts.commits('chunk')).toBe(true)
    expect(facts.complete([])).toBe(true)
    expect(facts.valid(null)).toBe(true)
    expect(facts.key({ b: 1, a: 2 }, 'cache')).toBe(facts.key({ a: 2, b: 1 }, 'dedupe'))
    expect(facts.key(() => {}, 'cache')).toBeUndefined()
  })

  it('keeps the traits a function already has, unless they are given again', async () => {
    const inner = base(async (_: unknown) => 1, {
      name: 'inner',
      unreadMs: 5,
      model: () => 'small',
    })
    const facts = await factsOf(base(inner, { unreadMs: 7, model: undefined }))
    expect(facts).toMatchObject({ name: 'inner', unreadMs: 7 })
    expect(facts.model?.('x')).toBe('small')
  })

  it('knows that an async generator function streams', async () => {
    const probe = spy()
    await (await stack(numbers, probe)(1)).return(undefined)
    expect(probe.context.base.streams?.(1)).toBe(true)
  })

  it('uses the defaults for traits that are undefined', async () => {
    const facts = await factsOf(
      base(async (_: unknown) => 1, { key: undefined, unreadMs: undefined, streams: undefined }),
    )
    expect(facts.unreadMs).toBe(30_000)
    expect(facts.key({ a: 1 }, 'cache')).toBeDefined()
  })

  it('gives the layers a promise even when its function returns or throws synchronously', async () => {
    const seen: unknown[] = []
    const ask = stack(
      (request: string) => {
        if (request === 'bad') throw new Error('bad')
        return request
      },
      (next) => (request, context) => {
        const answer = next(request, context)
        seen.push(answer)
        return answer
      },
    )
    expect(await ask('good')).toBe('good')
    await expect(ask('bad')).rejects.toThrow('bad')
    expect(seen).toEqual([expect.any(Promise), expect.any(Promise)])
  })

  it('merges arrays and splits their answer', async () => {
    const { split, merge } = await factsOf(async () => 1)
    expect(split(['a', 'b'])).toEqual({ group: '', size: 2 })
    expect(split('no array')).toBeUndefined()
    const { request, part } = merge([['a', 'b'], ['c'], [['d']]])
    expect(request).toEqual(['a', 'b', 'c', ['d']])
    expect(part([1, 2, 3, 4], 2, 1)).toEqual([3])
    expect(() => part('no array', 0, 1)).toThrow(TypeError)
  })

  it('splits an array and joins the answers', async () => {
    const { divide } = await factsOf(async () => 1)
    const divided = divide?.(['a', 'b', 'c'], 2)
    expect(divided?.requests).toEqual([['a', 'b'], ['c']])
    expect(divided?.join([[1, 2], [3]])).toEqual([1, 2, 3])
    expect(() => divided?.join([[1], [3]])).toThrow(TypeError)
  })

  it('distinguishes functions unless they provide a key of their own', async () => {
    const ask = async (_: unknown) => 1
    const other = async (_: unknown) => 1
    expect((await factsOf(ask)).scope).not.toBe((await factsOf(other)).scope)
    expect((await factsOf(ask)).scope).toBe((await factsOf(ask)).scope)
    expect((await factsOf(base(ask, { key: () => 'k' }))).scope).toBe('')
  })

  it('keeps the name, arguments and result of the function', async () => {
    const told = base(async function ask(request: string) {
      return `${request}!`
    }, {})
    expect(told.name).toBe('ask')
    expect(await stack(told)('hi')).toBe('hi!')
  })

  it('does not add traits to the function itself', async () => {
    const ask = async (_: unknown) => 1
    base(ask, { unreadMs: 5 })
    expect((await factsOf(ask)).unreadMs).toBe(30_000)
  })

  it('passes the traits of a base through a stack to the stack built on it', async () => {
    const inner = stack(base(async (_: unknown) => 1, { unreadMs: 5, streams: () => false }))
    const facts = await factsOf(inner)
    expect(facts.unreadMs).toBe(5)
    expect(facts.streams?.('x')).toBe(false)
  })

  it('decides which chunk commits a stream', async () => {
    const ask = stack(base(numbers, { commits: (n) => n === 2, unreadMs: 50 }))
    const stream = await ask(5)
    expect(await collect(stream)).toEqual([0, 1, 2, 3, 4])
  })

  it.each([
    ['an unknown trait', { stream: () => true }, 'base: option "stream" is unknown'],
    [
      'a trait that is no function',
      { key: 'id' },
      'base: option "key" must be a function, got "id".',
    ],
    ['NaN', { unreadMs: Number.NaN }, 'base: option "unreadMs" must be a duration'],
    ['no object', 5, 'base: options must be an object, got 5.'],
  ])('refuses %s', (_, traits, message) => {
    expect(() => base(async () => 1, traits as never)).toThrow(
      expect.objectContaining({ code: 'CONFIG', message: expect.stringContaining(message) }),
    )
  })

  it('refuses anything but a function', () => {
    expect(() => base('ask' as unknown as () => void, {})).toThrow(
      expect.objectContaining({ code: 'CONFIG' }),
    )
  })
})
