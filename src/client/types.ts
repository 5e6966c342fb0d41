import type { Json } from '../core/index.js'
import type { BlossomCallOptions } from './types/call.js'

export type * from './types/call.js'
export type * from './types/chat.js'
export type * from './types/media.js'
export type * from './types/responses.js'

// Shapes of the Pollinations gateway, from its public documentation and source as of 2026-11.

/** Token counts as reported by upstream. */
export interface Usage {
  readonly promptTokens: number
  readonly completionTokens: number
  readonly totalTokens: number
}

/** Options of `text.generate()` and `text.stream()`. */
export interface TextOptions extends BlossomCallOptions {
  /** A model's id, from `models.list()`. @default 'openai' */
  model?: string | undefined
  /** Maximum number of tokens in the answer, at least 1. @default upstream's */
  maxTokens?: number | undefined
  /** Sampling temperature, 0 to 2. @default upstream's, which is 1 */
  temperature?: number | undefined
  /** Nucleus sampling: share of the probability mass to sample from, 0 to 1. @default upstream's */
  topP?: number | undefined
  /** Seed for repeatable answers, an integer, for models that support it. @default upstream's */
  seed?: number | undefined
  /** Strings at which the model stops. @default none */
  stop?: string | readonly string[] | undefined
}

/** Result of `text.generate()`. */
export interface TextResult {
  /** The generated text; empty if the answer has none. */
  readonly text: string
  /** The model that answered, as named in the answer. */
  readonly model: string
  /** Token counts; `undefined` if upstream reports none. */
  readonly usage: Usage | undefined
  /** Why the model stopped, such as `stop` or `length`. */
  readonly finishReason: string | undefined
  /** Upstream's request id. */
  readonly requestId: string | undefined
  /** Whether the answer came from the `cache` layer. */
  readonly cached: boolean
  /** Number of requests sent for this call; 0 for a cache hit. */
  readonly attempts: number
  /** Upstream's headers: request id, cache, model used, rate limits. Empty for a cache hit. */
  readonly headers: Readonly<Record<string, string>>
}

/** One piece of a streamed text. */
export interface TextPiece {
  readonly text: string
}

/** A stream of text. To end it early, use `break`, `return()` or the call's signal. */
export interface TextStream extends AsyncGenerator<TextPiece, undefined, undefined> {
  /** Token counts; `undefined` until the stream has ended, or if upstream reports none. */
  readonly usage: Usage | undefined
  /** Why the model stopped; `undefined` until the stream has ended. */
  readonly finishReason: string | undefined
  /** Upstream's headers: request id, cache, model used, rate limits. Empty for a cache hit. */
  readonly headers: Readonly<Record<string, string>>
}

/** Fields that describe an image to generate. */
export interface ImageFields {
  /** A model's id, from `models.list()`. @default 'flux' */
  model?: string | undefined
  /** Width in pixels, 1 to 16,384. @default upstream's, which is 1024 */
  width?: number | undefined
  /** Height in pixels, 1 to 16,384. @default upstream's, which is 1024 */
  height?: number | undefined
  /** Seed for repeatable images, an integer, for models that support it. @default upstream's */
  seed?: number | undefined
  /** Whether a language model improves the prompt first. @default upstream's */
  enhance?: boolean | undefined
  /** What the image must not show. @default none */
  negativePrompt?: string | undefined
  /** Whether to keep the image out of upstream's public feed. @default upstream's */
  private?: boolean | undefined
  /** Whether to leave upstream's logo out of the image. @default upstream's */
  nologo?: boolean | undefined
  /**
   * Whether to keep the image out of upstream's public feed, like `private`.
   * @default upstream's
   */
  nofeed?: boolean | undefined
  /** Whether upstream rejects unsafe content. @default upstream's */
  safe?: boolean | undefined
  /** Quality of the image, for models that support the setting. @default upstream's */
  quality?: 'low' | 'medium' | 'high' | 'hd' | undefined
  /** URL of an image to start from. @default none */
  image?: string | undefined
  /** Whether the background is transparent, for models that support it. @default upstream's */
  transparent?: boolean | undefined
  /** How closely the image follows the prompt. @default upstream's */
  guidanceScale?: number | undefined
}

/** Options of `image.generate()`. */
export interface ImageOptions extends ImageFields, BlossomCallOptions {}

/** Options of `audio.speech()`. */
export interface SpeechOptions extends BlossomCallOptions {
  /** A model's id, from `models.list()`. @default upstream's */
  model?: string | undefined
  /** Name of the voice. @default 'alloy' */
  voice?: string | undefined
  /** Audio format, such as `mp3` or `wav`. @default upstream's */
  responseFormat?: string | undefined
  /** Speed of the speech, 0.25 to 4; 1 is normal. @default upstream's */
  speed?: number | undefined
}

/** The bytes of an image, of speech, or of a video. */
export interface BytesResult {
  readonly bytes: Uint8Array
  readonly contentType: string
  /** Upstream's headers: request id, cache, model used, rate limits. Empty for a cache hit. */
  readonly headers: Readonly<Record<string, string>>
}

/** Options of `embeddings.create()`. */
export interface EmbeddingOptions extends BlossomCallOptions {
  /** A model's id, from `models.list()`. @default upstream's */
  model?: string | undefined
  /** Length of each vector, 1 to 65,536, for models that support it. @default upstream's */
  dimensions?: number | undefined
}

/** Result of `embeddings.create()`. */
export interface EmbeddingResult {
  /** One vector for each input, in order. */
  readonly embeddings: number[][]
  readonly model: string
  /** Token counts. If a `batcher` merged calls, this call's share by the length of its inputs. */
  readonly usage: Usage | undefined
  /** Upstream's headers: request id, cache, model used, rate limits. Empty for a cache hit. */
  readonly headers: Readonly<Record<string, string>>
}

/** An entry of `models.list()`: its `id`, and the other fields that upstream lists. */
export interface Model {
  readonly id: string
  readonly [field: string]: unknown
}

/** A request to any path, for `request()`. */
export interface RawRequest {
  /** HTTP method. @default 'GET', or 'POST' with a body */
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | undefined
  /** Path and query, beginning with `/`. It is sent unchanged, so percent-encode its parts. */
  path: string
  /**
   * Body, sent as JSON. With `stream: true` the answer is a stream of parsed events.
   * @default none
   */
  body?: Readonly<Record<string, unknown>> | undefined
}

/** A request as the layers of a client's stack see it. */
export interface BlossomRequest {
  readonly method: string
  readonly path: string
  /** The serialized body, which is the same for every attempt. */
  readonly payload: string | undefined
  /** The parsed body. It is not frozen, but must not be changed. */
  readonly body: Readonly<Record<string, unknown>> | undefined
  readonly stream: boolean
  /** A form with files, sent instead of `body`; `body` then holds only its known fields. */
  readonly upload?: { readonly contentType: string } | undefined
  /** The form that the answer must have: JSON, bytes, or whatever its content type says. */
  readonly accept: 'json' | 'bytes' | 'any'
}

/** A JSON answer as the layers of a client's stack see it. */
export interface JsonAnswer {
  /** The JSON text, which is parsed when its value is needed. */
  readonly data: Json
  readonly requestId: string | undefined
}
/** An answer in bytes as the layers of a client's stack see it. */
export interface BytesAnswer {
  readonly bytes: Uint8Array
  readonly contentType: string
  readonly requestId: string | undefined
  /**
   * Set if upstream sent no length and ended the answer by closing the connection. It may be
   * incomplete, so it is not cached.
   */
  readonly unmeasured?: true
}
/** Any answer that the layers of a client's stack see. */
export type BlossomAnswer = JsonAnswer | BytesAnswer | AsyncIterable<unknown>

/** The client's entry in a call's `meta`, under the key `client`. */
export interface ClientNote {
  /** Number of requests sent for this call. */
  attempts: number
  /** Upstream's request id of the last one. */
  requestId: string | undefined
  /**
   * Safe headers of the last answer: request id, cache, model used, rate limits. Empty before the
   * first answer.
   */
  readonly headers: Readonly<Record<string, string>>
}
