import { expect, it, vi } from 'vitest'
import type { BlossomAnswer } from '../../../../src/client/index.js'
import type { BodyContext } from '../../../../src/client/wire/body.js'
import { EventStream } from '../../../../src/client/wire/event-stream.js'
import { type Context, stack } from '../../../../src/index.js'
import { turn } from '../../../support/watch.js'
import { chunk, event } from '../../../support/wire.js'

/** An exchange whose body is fed by hand. */
const exchangeOf = (context: Context) =>
  ({
    context,
    request: { path: '/v1/chat/completions', body: {}, stream: true },
    settings: {
      maxResponseBytes: 1e9,
      origin: 'https://upstream.example',
      apiKey: undefined,
      notices: 'pass',
    },
    headers: {},
    settle: vi.fn(),
    reject: vi.fn(),
    fail: vi.fn(),
    release: vi.fn(),
    pause: vi.fn(),
    resume: vi.fn(),
    cut: vi.fn(),
  }) as unknown as BodyContext

const PART = Buffer.from(event(chunk({ content: 'x'.repeat(1_000) })))

it('pauses the socket beyond 64 KiB of unread data, and resumes it for a waiting reader', async () => {
  const ask = stack(async (_: string, context: Context) => {
    const exchange = exchangeOf(context)
    const body = new EventStream(exchange)
    const settled = new Promise<BlossomAnswer>((resolve) => {
      vi.mocked(exchange.settle).mockImplementationOnce(resolve)
    })
    let parts = 1
    body.data(PART)
    await turn()
    vi.clearAllMocks()
    for (; (parts + 1) * PART.length < 64 * 1024; parts++) body.data(PART)
    await turn()
    expect(exchange.pause).not.toHaveBeenCalled()
    for (const end = parts + 5; parts < end; parts++) body.data(PART)
    expect(exchange.pause).toHaveBeenCalledTimes(1)
    const answer = await settled
    const reader = (answer as unknown as AsyncIterable<unknown>)[Symbol.asyncIterator]()
    for (; parts > 0; parts--) await reader.next()
    expect(exchange.resume).not.toHaveBeenCalled()
    const next = reader.next()
    expect(exchange.resume).toHaveBeenCalledTimes(1)
    await Promise.all([next, reader.return?.()])
    expect(exchange.cut).toHaveBeenCalledTimes(1)
    return ''
  })
  await ask('q')
})

it('gives the reader the first text before parsing what came with it', async () => {
  const happened: string[] = []
  const ask = stack(async (_: string, context: Context) => {
    const exchange = exchangeOf(context)
    const body = new EventStream(exchange)
    vi.mocked(exchange.pause).mockImplementation(() => void happened.push('paused'))
    vi.mocked(exchange.resume).mockImplementation(() => void happened.push('resumed'))
    const answer = new Promise<BlossomAnswer>((resolve) => {
      vi.mocked(exchange.settle).mockImplementationOnce(resolve)
    })
    const reading = (async () => {
      const reader = ((await answer) as unknown as AsyncIterable<unknown>)[Symbol.asyncIterator]()
      await reader.next()
      happened.push('read')
      return reader
    })()
    body.data(PART)
    expect(happened).toEqual(['paused'])
    await turn()
    expect(happened).toEqual(['paused', 'read', 'resumed'])
    body.data(PART)
    await turn()
    expect(happened).toHaveLength(3)
    await (await reading).return?.()
    return ''
  })
  await ask('q')
})
