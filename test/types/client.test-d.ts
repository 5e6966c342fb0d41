import { describe, expectTypeOf, it } from 'vitest'
import type {
  BatchOutcome,
  BytesResult,
  ChatChunk,
  ChatCompletion,
  EmbeddingResult,
  Model,
  TextPiece,
  TextResult,
  TextStream,
  Usage,
} from '../../src/client/index.js'
import type {
  BatcherStats,
  BreakerStats,
  CacheStats,
  DedupeStats,
  PoolStats,
  QueueStats,
  RetryStats,
  TimeoutStats,
} from '../../src/core.js'
import {
  type Blossom,
  type BlossomOptions,
  batcher,
  breaker,
  cache,
  createBlossom,
  dedupe,
  defineLayer,
  type Layer,
  type LayerDescription,
  pool,
  queue,
  retry,
  type StandardOptions,
  standard,
  timeout,
} from '../../src/index.js'

declare const blossom: Blossom<readonly []>
const messages = [{ role: 'user', content: 'Hello' }]

describe('createBlossom', () => {
  it('makes a client without layers', () => {
    expectTypeOf(createBlossom()).toEqualTypeOf<Blossom<readonly []>>()
    expectTypeOf(createBlossom({ apiKey: 'k', baseURL: 'http://localhost' })).toEqualTypeOf<
      Blossom<readonly []>
    >()
    expectTypeOf(createBlossom({ apiKey: process.env.KEY, headers: undefined })).toEqualTypeOf<
      Blossom<readonly []>
    >()
    expectTypeOf<keyof ReturnType<Blossom<readonly []>['stats']>>().toBeNever()
  })

  it('keeps the layers of its options in the type', () => {
    const layered = createBlossom({ layers: [retry(), queue({ name: 'slots' })] })
    expectTypeOf(layered.stats()).toEqualTypeOf<{
      readonly retry: RetryStats
      readonly slots: QueueStats
    }>()
    const listed = [retry(), queue()] as const
    expectTypeOf(createBlossom({ layers: listed }).stats()).toEqualTypeOf<{
      readonly retry: RetryStats
      readonly queue: QueueStats
    }>()
  })

  it('takes options whose layers are not known', () => {
    expectTypeOf(createBlossom).toBeCallableWith({} as BlossomOptions)
  })

  it('refuses wrong options', () => {
    // @ts-expect-error an unknown name
    createBlossom({ apikey: 'k' })
    // @ts-expect-error an unknown name beside layers
    createBlossom({ layers: [retry()], baseUrl: 'x' })
    // @ts-expect-error a key that is no text
    createBlossom({ apiKey: 5 })
    // @ts-expect-error a header that is no text
    createBlossom({ headers: { a: 1 } })
    // @ts-expect-error a layer that is none
    createBlossom({ layers: [5] })
    // @ts-expect-error a dispatcher that is none
    createBlossom({ dispatcher: {} })
  })
})

describe('use', () => {
  it('gives the client with the layers in its type', () => {
    const layered = blossom.use(
      cache(),
      dedupe(),
      timeout({ ms: 60_000 }),
      retry(),
      breaker(),
      queue(),
      timeout({ ms: 5, name: 'attempt' }),
      pool(),
      batcher(),
    )
    expectTypeOf(layered.stats()).toEqualTypeOf<{
      readonly cache: CacheStats
      readonly dedupe: DedupeStats
      readonly timeout: TimeoutStats
      readonly retry: RetryStats
      readonly breaker: BreakerStats
      readonly queue: QueueStats
      readonly attempt: TimeoutStats
      readonly pool: PoolStats
      readonly batcher: BatcherStats
    }>()
    expectTypeOf(layered.stats().queue.waiting).toEqualTypeOf<number>()
    expectTypeOf(layered.text.generate).toEqualTypeOf(blossom.text.generate)
    // @ts-expect-error no such layer
    layered.stats().fallback
  })

  it('numbers equal names in the order of adding', () => {
    const layered = blossom.use(timeout({ ms: 1 })).use(timeout({ ms: 2 }), retry())
    expectTypeOf(layered.stats()).toEqualTypeOf<{
      readonly timeout: TimeoutStats
      readonly timeout2: TimeoutStats
      readonly retry: RetryStats
    }>()
  })

  it('takes the standard layers', () => {
    expectTypeOf<keyof ReturnType<ReturnType<typeof useStandard>['stats']>>().toEqualTypeOf<
      'cache' | 'dedupe' | 'timeout' | 'retry' | 'breaker' | 'queue' | 'attempt' | 'pool'
    >()
  })

  it('takes layers of one’s own', () => {
    const mine: Layer<'mine', { readonly calls: number }> = defineLayer({
      name: 'mine',
      wrap: (next) => (request, context) => next(request, context),
      stats: () => ({ calls: 0 }),
    })
    expectTypeOf(blossom.use(mine).stats().mine.calls).toEqualTypeOf<number>()
  })

  it('refuses what is no layer, and layers of other requests', () => {
    // @ts-expect-error a factory that was not called
    blossom.use(retry)
    // @ts-expect-error a number
    blossom.use(5)
    // @ts-expect-error a layer of texts
    blossom.use({} as Layer<'texts', object, string, string>)
  })
})

const useStandard = () => blossom.use(...standard())

describe('standard', () => {
  it('has the limits, the fallback and the hedge that are given, and no others', () => {
    const stats = blossom
      .use(...standard({ rateLimit: { requests: 60 }, fallback: { to: ['mistral'] }, hedge: {} }))
      .stats()
    expectTypeOf(stats.rateLimit.admitted).toEqualTypeOf<number>()
    expectTypeOf(stats.fallback.used).toEqualTypeOf<number>()
    expectTypeOf(stats.hedge.won).toEqualTypeOf<number>()
    expectTypeOf(stats).not.toHaveProperty('providerLimit')
  })

  it('has stats of just the layers in use', () => {
    const few = blossom.use(
      ...standard({ cache: false, queue: { concurrency: 20 }, attempt: false, pool: undefined }),
    )
    expectTypeOf(few.stats()).toEqualTypeOf<{
      readonly dedupe: DedupeStats
      readonly timeout: TimeoutStats
      readonly retry: RetryStats
      readonly breaker: BreakerStats
      readonly queue: QueueStats
      readonly pool: PoolStats
    }>()
    expectTypeOf(blossom.use(...standard({})).stats()).toEqualTypeOf(useStandard().stats())
    // @ts-expect-error the cache is left out
    few.stats().cache
  })

  it('has either stats when a layer depends on a condition', () => {
    const isCaching = process.env.CACHE === 'on'
    const stats = blossom.use(...standard({ cache: isCaching && { ttlMs: 1_000 } })).stats()
    expectTypeOf(stats.queue).toEqualTypeOf<QueueStats>()
    // @ts-expect-error perhaps there is none
    stats.cache
    if ('cache' in stats) expectTypeOf(stats.cache).toEqualTypeOf<CacheStats>()
  })

  it('takes options whose layers are not known', () => {
    expectTypeOf(standard).toBeCallableWith({} as StandardOptions)
    blossom.use(...standard({} as StandardOptions))
  })

  it('gives layers that keep their own methods', () => {
    const [first] = standard()
    expectTypeOf(first.clear).returns.toEqualTypeOf<Promise<void>>()
  })

  it('refuses what it does not know', () => {
    // @ts-expect-error no such layer
    standard({ batcher: {} })
    // @ts-expect-error true is no options
    standard({ cache: true })
    // @ts-expect-error no such option of the layer
    standard({ queue: { concurency: 20 } })
    // @ts-expect-error no such option beside a known one
    standard({ queue: { concurrency: 20, limit: 5 } })
    // @ts-expect-error an option of another type
    standard({ retry: { retries: '2' } })
    // @ts-expect-error the key is the name
    standard({ queue: { name: 'slots' } })
  })
})

describe('methods', () => {
  it('text', () => {
    expectTypeOf(blossom.text.generate('Hello')).toEqualTypeOf<Promise<TextResult>>()
    expectTypeOf(blossom.text.stream('Hello')).toEqualTypeOf<Promise<TextStream>>()
    expectTypeOf(blossom.text.batch(['Hello'])).toEqualTypeOf<
      AsyncGenerator<BatchOutcome, undefined, undefined>
    >()
    expectTypeOf<TextResult>().toEqualTypeOf<{
      readonly text: string
      readonly model: string
      readonly usage: Usage | undefined
      readonly finishReason: string | undefined
      readonly requestId: string | undefined
      readonly cached: boolean
      readonly attempts: number
      readonly headers: Readonly<Record<string, string>>
    }>()
    expectTypeOf<TextStream>().toExtend<AsyncGenerator<TextPiece, undefined, undefined>>()
    expectTypeOf<TextStream['usage']>().toEqualTypeOf<Usage | undefined>()
    expectTypeOf<TextStream['finishReason']>().toEqualTypeOf<string | undefined>()
  })

  it('a batch outcome is told apart by `ok`', () => {
    const outcome = {} as BatchOutcome
    if (outcome.ok) expectTypeOf(outcome.text).toEqualTypeOf<string>()
    else expectTypeOf(outcome.error).toEqualTypeOf<unknown>()
    expectTypeOf(outcome.index).toEqualTypeOf<number>()
    // @ts-expect-error a failure has no text
    outcome.text
  })

  it('chat', () => {
    expectTypeOf(blossom.chat.create({ messages })).toEqualTypeOf<Promise<ChatCompletion>>()
    expectTypeOf(blossom.chat.stream({ messages })).toEqualTypeOf<
      Promise<AsyncGenerator<ChatChunk, undefined, undefined>>
    >()
    const chunk = {} as ChatChunk
    expectTypeOf(chunk.choices[0]?.delta.content).toEqualTypeOf<string | null | undefined>()
    expectTypeOf(chunk.choices[0]?.delta.tool_calls?.[0]?.function?.arguments).toEqualTypeOf<
      string | undefined
    >()
    expectTypeOf(chunk.choices[0]?.finish_reason).toEqualTypeOf<string | null | undefined>()
  })

  it('image, audio, embeddings, models and account', () => {
    expectTypeOf(blossom.image.generate('a cat')).toEqualTypeOf<Promise<BytesResult>>()
    expectTypeOf(blossom.image.url('a cat')).toEqualTypeOf<string>()
    expectTypeOf(blossom.audio.speech('Hello')).toEqualTypeOf<Promise<BytesResult>>()
    expectTypeOf(blossom.video.generate('Hello')).toEqualTypeOf<Promise<BytesResult>>()
    expectTypeOf(blossom.embeddings.create(['a'])).toEqualTypeOf<Promise<EmbeddingResult>>()
    expectTypeOf<EmbeddingResult['embeddings']>().toEqualTypeOf<number[][]>()
    expectTypeOf(blossom.models.list()).toEqualTypeOf<Promise<Model[]>>()
    expectTypeOf(blossom.account.balance()).toEqualTypeOf<Promise<{ balance: number }>>()
    expectTypeOf<BytesResult>().toEqualTypeOf<{
      readonly bytes: Uint8Array
      readonly contentType: string
      readonly headers: Readonly<Record<string, string>>
    }>()
  })

  it('request gives unknown until the caller says what it is', () => {
    expectTypeOf(blossom.request({ path: '/x' })).toEqualTypeOf<Promise<unknown>>()
    expectTypeOf(blossom.request<{ a: number }>({ path: '/x' })).toEqualTypeOf<
      Promise<{ a: number }>
    >()
  })

  it('describe, close and disposal', () => {
    expectTypeOf(blossom.describe()).toEqualTypeOf<LayerDescription[]>()
    expectTypeOf(blossom.close({ timeoutMs: 5 })).toEqualTypeOf<Promise<void>>()
    expectTypeOf(blossom).toExtend<AsyncDisposable>()
  })

  it('are any nowhere', () => {
    expectTypeOf<Awaited<ReturnType<Blossom['text']['generate']>>>().not.toBeAny()
    expectTypeOf<TextPiece['text']>().not.toBeAny()
    expectTypeOf<ChatCompletion['choices'][number]['message']['content']>().not.toBeAny()
    expectTypeOf<ChatCompletion['choices'][number]['message']['audio']>().not.toBeAny()
    expectTypeOf<ChatChunk['choices'][number]['delta']>().not.toBeAny()
    expectTypeOf<ChatChunk['anything']>().toBeUnknown()
    expectTypeOf<Model['anything']>().toBeUnknown()
    expectTypeOf(useStandard().stats().pool).not.toBeAny()
    expectTypeOf(blossom.stats()).not.toBeAny()
  })

  it('refuse wrong options', () => {
    // @ts-expect-error an unknown name
    blossom.text.generate('Hello', { max_tokens: 5 })
    // @ts-expect-error a text for a number
    blossom.text.generate('Hello', { maxTokens: '5' })
    // @ts-expect-error no prompt
    blossom.text.generate()
    // @ts-expect-error a prompt that is no text
    blossom.text.stream(5)
    // @ts-expect-error a bare signal
    blossom.text.generate('Hello', new AbortController().signal)
    // @ts-expect-error a mode that does not exist
    blossom.text.generate('Hello', { cache: 'never' })
    // @ts-expect-error prompts that are no texts
    blossom.text.batch([5])
    // @ts-expect-error an order that does not exist
    blossom.text.batch(['Hello'], { order: 'random' })
    // @ts-expect-error a batch has its own notes
    blossom.text.batch(['Hello'], { meta: new Map() })
    // @ts-expect-error no messages
    blossom.chat.create({ model: 'openai' })
    // @ts-expect-error a quality that does not exist
    blossom.image.generate('a cat', { quality: 'best' })
    // @ts-expect-error an address takes no time-out
    blossom.image.url('a cat', { timeoutMs: 5 })
    // @ts-expect-error inputs that are no texts
    blossom.embeddings.create([5])
    // @ts-expect-error headers are the client's
    blossom.request({ path: '/x', headers: {} })
    // @ts-expect-error a method that does not exist
    blossom.request({ path: '/x', method: 'TRACE' })
    // @ts-expect-error no path
    blossom.request({})
  })

  it('take the call’s options everywhere', () => {
    const options = {
      signal: new AbortController().signal,
      timeoutMs: 5,
      deadline: 5,
      priority: 1,
      tenant: 't',
      cache: 'reload',
    } as const
    expectTypeOf(blossom.text.generate).toBeCallableWith('Hello', options)
    expectTypeOf(blossom.text.stream).toBeCallableWith('Hello', options)
    expectTypeOf(blossom.chat.create).toBeCallableWith({ messages }, options)
    expectTypeOf(blossom.chat.stream).toBeCallableWith({ messages }, options)
    expectTypeOf(blossom.image.generate).toBeCallableWith('a cat', options)
    expectTypeOf(blossom.audio.speech).toBeCallableWith('Hello', options)
    expectTypeOf(blossom.embeddings.create).toBeCallableWith('Hello', options)
    expectTypeOf(blossom.models.list).toBeCallableWith(options)
    expectTypeOf(blossom.account.balance).toBeCallableWith(options)
  })
})
