import { describe, expect, it, vi } from 'vitest'
import type { ChatCompletion } from '../../../../src/client/index.js'
import {
  cache,
  collect,
  createBlossom,
  dedupe,
  type RetryOptions,
  retry,
  stack,
} from '../../../../src/index.js'
import { httpServer } from '../../../support/bare-server.js'
import { catchWarnings } from '../../../support/warnings.js'
import { completion } from '../../../support/wire.js'

const again = (options: RetryOptions) =>
  retry({ retries: 2, minDelayMs: 0, maxDelayMs: 0, budget: false, ...options })

/** A function that gives these answers, or throws them where they are errors. */
function answering(...answers: readonly unknown[]) {
  let calls = 0
  const fn = async (_request: string) => {
    const answer = answers[Math.min(calls++, answers.length - 1)]
    if (answer instanceof Error) throw answer
    return answer
  }
  return { fn, count: () => calls }
}

const accept = (answer: unknown) => answer === 'good'

describe('retry({ accept })', () => {
  it('repeats what is refused until an answer is accepted, and that one is cached', async () => {
    const { fn, count } = answering('bad', 'good')
    const told: unknown[] = []
    const ask = stack(fn, cache(), again({ accept, onRetry: ({ error }) => told.push(error) }))
    expect(await ask('a')).toBe('good')
    expect(await ask('a')).toBe('good')
    expect(count()).toBe(2)
    expect(told).toMatchObject([{ code: 'PROTOCOL', layer: 'retry' }])
    expect(JSON.stringify(told)).not.toContain('bad')
    expect(ask.stats().retry).toMatchObject({ retries: 1, exhausted: 0 })
  })

  it('returns the last refused answer, which no cache keeps', async () => {
    const { fn, count } = answering('1', '2', '3', '4', '5', '6')
    const ask = stack(fn, cache(), dedupe(), again({ accept }))
    const meta = new Map<string, unknown>()
    expect(await ask('a', { meta })).toBe('3')
    expect(meta.get('keep')).toBe(0)
    expect(await ask('a')).toBe('6')
    expect(count()).toBe(6)
  })

  it('returns a refused answer rather than a later failure', async () => {
    const { fn, count } = answering('bad', new Error('gone'))
    expect(await stack(fn, again({ accept }))('a')).toBe('bad')
    expect(count()).toBe(3)
  })

  it('repeats a failure, then what is refused', async () => {
    const { fn } = answering(new Error('gone'), 'bad', 'good')
    expect(await stack(fn, again({ accept }))('a')).toBe('good')
  })

  it('repeats what is refused whatever `when` says of failures', async () => {
    const { fn } = answering('bad', 'good')
    expect(await stack(fn, again({ accept, when: () => false }))('a')).toBe('good')
  })

  it('rejects with the reason of a caller who leaves in between', async () => {
    const { fn } = answering('bad')
    const controller = new AbortController()
    const reason = new Error('left')
    const ask = stack(
      fn,
      again({
        accept,
        minDelayMs: 10_000,
        maxDelayMs: 10_000,
        random: () => 1,
        onRetry: () => controller.abort(reason),
      }),
    )
    await expect(ask('a', { signal: controller.signal })).rejects.toBe(reason)
  })

  it('does not leak the note of one call into the next with the same map', async () => {
    const { fn, count } = answering('bad', 'good')
    const meta = new Map<string, unknown>()
    const ask = stack(fn, cache(), again({ accept, retries: 0 }))
    await ask('a', { meta })
    for (let i = 0; i < 2; i++) expect(await ask('a', { meta })).toBe('good')
    expect(count()).toBe(2)
  })

  it('takes an answer when accept throws or gives a promise, with a warning', async () => {
    const { fn, count } = answering('bad')
    const said = catchWarnings()
    for (const wrong of [
      () => {
        throw new Error('x')
      },
      async () => false,
    ] as never[])
      expect(await stack(fn, again({ accept: wrong }))('a')).toBe('bad')
    expect(count()).toBe(2)
    expect(said.filter((one) => one.includes('accept()')).length).toBeGreaterThan(0)
    vi.restoreAllMocks()
  })

  it('judges no stream', async () => {
    const ask = stack(async function* (_request: string) {
      yield 'bad'
    }, again({ accept }))
    expect(await collect(await ask('a'))).toEqual(['bad'])
  })

  it('judges the body of the client’s answers', async () => {
    await using server = await httpServer((_request, response, nth) => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(completion(nth === 0 ? '' : 'Hello')))
    })
    const hasText = ({ choices }: ChatCompletion) => choices[0]?.message.content !== ''
    await using blossom = createBlossom({ baseURL: server.url }).use(again({ accept: hasText }))
    expect(await blossom.text.generate('Hi')).toMatchObject({ text: 'Hello', attempts: 2 })
  })
})
