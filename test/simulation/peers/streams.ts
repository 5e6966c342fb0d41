import type { LanguageModel } from 'ai'
import { createRetryableModel } from 'ai-retry/language-model'
import { fallback as cockatielFallback, handleAll } from 'cockatiel'
import { llmRetryStream, type StreamRetryMode } from 'llm-retry-kit'
import { base, stack } from '../../../src/core/index.js'
import { fallback } from '../../../src/layers/fallback/index.js'
import { simulated } from './world.js'

/** Of a stream: that it has begun, or a piece of its text. */
type Piece = { readonly role: 'assistant' } | { readonly text: string }

/** When a model's answer breaks: before anything, after its role, or after its first text. */
export const BREAKS = ['refused', 'after its role', 'after its first text'] as const
type Break = (typeof BREAKS)[number]

const overloaded = () => Object.assign(new Error('Overloaded.'), { status: 503 })

/** A model whose answer is its own name twice, and the stream of it, which may break. */
async function answerOf(name: string, breaks?: Break): Promise<AsyncIterable<Piece>> {
  if (breaks === 'refused') throw overloaded()
  return (async function* () {
    yield { role: 'assistant' }
    if (breaks === 'after its role') throw overloaded()
    yield { text: name }
    if (breaks === 'after its first text') throw overloaded()
    yield { text: name }
  })()
}

type Ask = (breaks: Break) => Promise<AsyncIterable<Piece>> | AsyncIterable<Piece>

const streaming = (name: string, breaks?: Break) =>
  base(() => answerOf(name, breaks), {
    streams: () => true,
    commits: (piece) => 'text' in piece,
  })

const withKit =
  (retryMode: StreamRetryMode): Ask =>
  (breaks) =>
    llmRetryStream({
      providers: [
        { name: 'first', stream: () => answerOf('A', breaks), maxRetries: 0 },
        { name: 'second', stream: () => answerOf('B') },
      ],
      retryMode,
    }).stream

/** A model of the AI SDK. */
type Model = Extract<LanguageModel, { specificationVersion: 'v3' }>
type StreamOf = Awaited<ReturnType<Model['doStream']>>['stream']
type Part = StreamOf extends ReadableStream<infer Part> ? Part : never

/** As a provider of the AI SDK gives it: what breaks later is a part of the stream. */
async function* partsOf(pieces: AsyncIterable<Piece>): AsyncGenerator<Part> {
  yield { type: 'stream-start', warnings: [] }
  try {
    for await (const piece of pieces) {
      if ('text' in piece) yield { type: 'text-delta', id: '0', delta: piece.text }
      else yield { type: 'text-start', id: '0' }
    }
  } catch (error) {
    yield { type: 'error', error }
  }
}

const modelOf = (name: string, breaks?: Break): Model => ({
  specificationVersion: 'v3',
  provider: 'simulated',
  modelId: name,
  supportedUrls: {},
  doGenerate: () => Promise.reject(overloaded()),
  doStream: async () => ({ stream: ReadableStream.from(partsOf(await answerOf(name, breaks))) }),
})

async function* piecesOf(stream: ReadableStream<Part>): AsyncGenerator<Piece> {
  for await (const part of stream) {
    if (part.type === 'error') throw part.error
    if (part.type === 'text-delta') yield { text: part.delta }
  }
}

/** Those who ask a second model when the first one fails, by their names in the table. */
export const fallbacks: Readonly<Record<string, Ask>> = {
  '**`fallback`**': (breaks) =>
    stack(streaming('A', breaks), fallback({ to: [stack(streaming('B'))] }))({}),
  '`llmRetryStream`': withKit('before-first-chunk'),
  "`llmRetryStream`, `retryMode: 'always'`": withKit('always'),
  '`createRetryableModel`': async (breaks) => {
    const model = createRetryableModel({ model: modelOf('A', breaks), retries: [modelOf('B')] })
    const { stream } = await (model as Model).doStream({
      prompt: [{ role: 'user', content: [{ type: 'text', text: 'Hello' }] }],
    })
    return piecesOf(stream)
  },
  "cockatiel's `fallback`": (breaks) =>
    cockatielFallback(handleAll, () => answerOf('B')).execute(() => answerOf('A', breaks)),
}

/** What a reader is shown: A and B for the text of each model, and whether it ends in an error. */
export const shown = (name: string, breaks: Break): Promise<string> =>
  simulated(async ({ clock }) => {
    let text = ''
    const read = async () => {
      for await (const piece of await (fallbacks[name] as Ask)(breaks))
        if ('text' in piece) text += piece.text
    }
    const ended = read().then(
      () => text,
      () => (text === '' ? 'error' : `${text}, error`),
    )
    await clock.advance(60_000)
    return ended
  })
