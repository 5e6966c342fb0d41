import { Agent } from 'undici'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { BlossomAnswer } from '../../../../src/client/index.js'
import { clientTraits } from '../../../../src/client/traits.js'
import { CallNote } from '../../../../src/client/wire/call-note.js'
import { Exchange } from '../../../../src/client/wire/exchange.js'
import { Outgoing } from '../../../../src/client/wire/outgoing.js'
import { base, type Context, createBlossom, isStream, queue, stack } from '../../../../src/index.js'
import { type LocalBlossom, startLocalBlossom } from '../../../../src/testing/index.js'
import { PROMPT } from '../../../support/secrets.js'
import { textOf } from '../../../support/text-streams.js'
import { failure, watch } from '../../../support/watch.js'

const messages = [{ role: 'user', content: PROMPT }]

describe('a reader who leaves', () => {
  let upstream: LocalBlossom
  beforeEach(async () => {
    upstream = await startLocalBlossom({ chunkDelayMs: 5, words: 500 })
  })
  afterEach(() => upstream.close())
  const client = () => createBlossom({ baseURL: upstream.url }).use(queue({ concurrency: 1 }))

  const ways: Record<
    string,
    (stream: AsyncGenerator<{ text: string }>, controller: AbortController) => Promise<unknown>
  > = {
    break: async (stream) => {
      for await (const _ of stream) break
    },
    'return()': async (stream) => {
      await stream.next()
      await stream.return(undefined)
    },
    'return() before the first next()': (stream) => stream.return(undefined),
    'return() while a next() waits': async (stream) => {
      await stream.next()
      const waiting = [stream.next(), stream.next(), stream.next(), stream.next()]
      await stream.return(undefined)
      await Promise.all(waiting)
    },
    'throw()': async (stream) => {
      await stream.next()
      await failure(stream.throw(new Error('on purpose')))
    },
    'an error in the loop': (stream) =>
      failure(
        (async () => {
          for await (const _ of stream) throw new Error('on purpose')
        })(),
      ),
    'the signal': async (stream, controller) => {
      await stream.next()
      const reason = new Error('on purpose')
      controller.abort(reason)
      expect(await failure(textOf(stream))).toBe(reason)
    },
  }
  it.each(Object.keys(ways))('by %s stops upstream and frees the slot', async (way) => {
    const blossom = client()
    const controller = new AbortController()
    const stream = await blossom.text.stream(PROMPT, { signal: controller.signal })
    const before = performance.now()
    await (ways[way] as (typeof ways)[string])(stream, controller)
    await upstream.waitFor(({ active }) => active === 0)
    expect(performance.now() - before).toBeLessThan(500)
    expect(upstream.requests[0]).toMatchObject({ outcome: 'aborted' })
    expect(blossom.stats().queue.running).toBe(0)
    expect(await stream.next()).toEqual({ done: true, value: undefined })
    await expect(blossom.text.generate(PROMPT)).resolves.toMatchObject({ attempts: 1 })
  })

  it('before the first token stops upstream with the reason of the reader’s signal', async () => {
    upstream.fault({ stallAfterChunks: 0 })
    const controller = new AbortController()
    const stream = watch(client().text.stream(PROMPT, { signal: controller.signal }))
    await upstream.waitFor(({ requests }) => requests[0]?.chunksSent === 1)
    controller.abort('a word')
    await upstream.waitFor(({ active }) => active === 0)
    expect(stream).toMatchObject({ state: 'rejected', error: 'a word' })
  })

  it('leaves no listener on a long-lived signal', async () => {
    const { signal } = new AbortController()
    const add = vi.spyOn(signal, 'addEventListener')
    const remove = vi.spyOn(signal, 'removeEventListener')
    const blossom = client()
    for await (const _ of await blossom.text.stream(PROMPT, { signal })) break
    await blossom.text.generate(PROMPT, { signal })
    expect(add.mock.calls.length).toBe(remove.mock.calls.length)
  })
})

describe('a stream that nobody reads', () => {
  it('ends with TIMEOUT in phase read, and stops upstream', async () => {
    await using upstream = await startLocalBlossom({ chunkDelayMs: 5, words: 500 })
    const agent = new Agent()
    const ask = stack(
      base(
        (request: Outgoing, context: Context): Promise<BlossomAnswer> => {
          const exchange = new Exchange(
            request,
            context,
            {
              maxResponseBytes: 2 ** 20,
              origin: 'https://upstream.example',
              apiKey: undefined,
              notices: 'error',
            },
            new CallNote(),
          )
          const headers = ['content-type', 'application/json']
          agent.dispatch(
            {
              origin: upstream.url,
              path: request.path,
              method: 'POST',
              headers,
              body: request.payload ?? null,
            },
            exchange,
          )
          return exchange.answer
        },
        { ...clientTraits('somebody'), unreadMs: 40 },
      ),
    )
    const stream = await ask(
      new Outgoing('POST', '/v1/chat/completions', { messages, stream: true }, 'json'),
    )
    if (!isStream(stream)) throw new Error('Expected a stream.')
    await upstream.waitFor(({ active }) => active === 0)
    const error = await failure(stream[Symbol.asyncIterator]().next())
    expect(error).toMatchObject({ code: 'TIMEOUT', phase: 'read', ms: 40, retryable: false })
    await agent.close()
  })

  it('gets 30 s from the client', async () => {
    await using upstream = await startLocalBlossom({ words: 500 })
    upstream.fault({ stallAfterChunks: 1 })
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const blossom = createBlossom({ baseURL: upstream.url }).use(queue({ concurrency: 1 }))
      const stream = await blossom.text.stream(PROMPT)
      await vi.advanceTimersByTimeAsync(29_900)
      expect(blossom.stats().queue.running).toBe(1)
      await vi.advanceTimersByTimeAsync(200)
      expect(blossom.stats().queue.running).toBe(0)
      expect(await failure(stream.next())).toMatchObject({
        code: 'TIMEOUT',
        phase: 'read',
        ms: 30_000,
      })
      await upstream.waitFor(({ active }) => active === 0)
    } finally {
      vi.useRealTimers()
    }
  })
})
