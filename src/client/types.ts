import type { Json } from '../core/index.js'
import type { BlossomCallOptions } from './types/call.js'

export type * from './types/call.js'
export type * from './types/chat.js'
export type * from './types/media.js'
export type * from './types/responses.js'

// Shapes of the Pollinations gateway, from its public documentation and source as of 2026-11.

/** Tokens that upstream counted. */
export interface Usage {
  readonly promptTokens: number
  readonly completionTokens: number
  readonly totalTokens: number
}

/** Options of `text.generate()` and `text.stream()`. */
export interface TextOptions extends BlossomCallOptions {
  /** A model's id, from `models.list()`. @default 'openai' */
  model?: string | undefined
  /** At least 1. */
  maxTokens?: number | undefined
  /** 0 to 2. @default upstream's, which is 1 */
  temperature?: number | undefined
  /** 0 to 1. */
  topP?: number | undefined
  /** For answers that can be repeated, where the model can. */
  seed?: number | undefined
  /** Where the model stops writing. */
  stop?: string | readonly string[] | undefined
}

/** What `text.generate()` gives. */
export interface TextResult {
  readonly text: string
  /** The model that answered, as named in the answer. */
  readonly model: string
  readonly usage: Usage | undefined
  readonly finishReason: string | undefined
  /** Upstream's id of the request. */
  readonly requestId: string | undefined
  /** Whether our own cache had it. */
  readonly cached: boolean
  /** Requests made for it; 0 for a hit. */
  readonly attempts: number
  /** What upstream said beside it: request id, cache, model used, limits. Empty for a hit. */
  readonly headers: Readonly<Record<string, string>>
}

/** One piece of a streamed text. */
export interface TextPiece {
  readonly text: string
}

/** A text stream; leave it by `break`, `return()` or the call's signal. */
export interface TextStream extends AsyncGenerator<TextPiece, undefined, undefined> {
  /** Token counts; undefined until the stream has ended, or when upstream sends none. */
  readonly usage: Usage | undefined
  /** Why the model stopped; undefined until the stream has ended. */
  readonly finishReason: string | undefined
  /** What upstream said beside it: request id, cache, model used, limits. Empty for a hit. */
  readonly headers: Readonly<Record<string, string>>
}

/** What an image is made by. */
export interface ImageFields {
  /** A model's id, from `models.list()`. @default 'flux' */
  model?: string | undefined
  /** Pixels. @default upstream's, which is 1024 */
  width?: number | undefined
  /** Pixels. @default upstream's, which is 1024 */
  height?: number | undefined
  /** For answers that can be repeated, where the model can. */
  seed?: number | undefined
  /** Lets a model improve the prompt first. */
  enhance?: boolean | undefined
  /** What should not be in the image. */
  negativePrompt?: string | undefined
  /** Keeps the image out of upstream's public feed. */
  private?: boolean | undefined
  /** No logo of upstream's in the image. */
  nologo?: boolean | undefined
  /** Does not add the image to upstream's public feed. */
  nofeed?: boolean | undefined
  /** Refuses what is not fit for everyone. */
  safe?: boolean | undefined
  /** How much work goes into it, for models that know the setting. */
  quality?: 'low' | 'medium' | 'high' | 'hd' | undefined
  /** Address of an image to start from. */
  image?: string | undefined
  /** A transparent background, for models that can. */
  transparent?: boolean | undefined
  /** How closely the image follows the prompt. */
  guidanceScale?: number | undefined
}

/** Options of `image.generate()`. */
export interface ImageOptions extends ImageFields, BlossomCallOptions {}

/** Options of `audio.speech()`. */
export interface SpeechOptions extends BlossomCallOptions {
  /** A model's id, from `models.list()`. @default upstream's */
  model?: string | undefined
  /** Who speaks. @default 'alloy' */
  voice?: string | undefined
  /** Such as `mp3` or `wav`. @default upstream's */
  responseFormat?: string | undefined
  /** How fast it is spoken; 1 is the voice's own. */
  speed?: number | undefined
}

/** An image, speech, or a video. */
export interface BytesResult {
  readonly bytes: Uint8Array
  readonly contentType: string
  /** What upstream said beside it: request id, cache, model used, limits. Empty for a hit. */
  readonly headers: Readonly<Record<string, string>>
}

/** Options of `embeddings.create()`. */
export interface EmbeddingOptions extends BlossomCallOptions {
  /** A model's id, from `models.list()`. @default upstream's */
  model?: string | undefined
  /** Length of each vector, for models that can shorten it. */
  dimensions?: number | undefined
}

/** What `embeddings.create()` gives. */
export interface EmbeddingResult {
  /** One vector for each input, in order. */
  readonly embeddings: number[][]
  readonly model: string
  /** Of calls that a batcher merged: this call's share by the length of its inputs. */
  readonly usage: Usage | undefined
  /** What upstream said beside it: request id, cache, model used, limits. Empty for a hit. */
  readonly headers: Readonly<Record<string, string>>
}

/** One entry of `models.list()`: its `id`, and whatever else upstream lists. */
export interface Model {
  readonly id: string
  readonly [field: string]: unknown
}

/** Any other request through the same stack. */
export interface RawRequest {
  /** @default 'GET', or 'POST' with a body */
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | undefined
  /** Path and query, beginning with `/`; sent as it is, so encode what is in it. */
  path: string
  /** Sent as JSON. With `stream: true` in it the answer is a stream of parsed events. */
  body?: Readonly<Record<string, unknown>> | undefined
}

/** What goes through the client's stack. */
export interface BlossomRequest {
  readonly method: string
  readonly path: string
  /** The body as it is sent: the same bytes at every attempt. */
  readonly payload: string | undefined
  /** The same, parsed. It is not frozen, but must not be changed. */
  readonly body: Readonly<Record<string, unknown>> | undefined
  readonly stream: boolean
  /** A form with files, sent instead of the body, which then says what is known of it. */
  readonly upload?: { readonly contentType: string } | undefined
  /** What the answer must be: JSON, bytes, or whichever its content type names. */
  readonly accept: 'json' | 'bytes' | 'any'
}

/** What comes back through the client's stack when it is not a stream. */
export interface JsonAnswer {
  /** As it came: text, and the value when it is asked for. */
  readonly data: Json
  readonly requestId: string | undefined
}
/** Bytes that come back through the client's stack. */
export interface BytesAnswer {
  readonly bytes: Uint8Array
  readonly contentType: string
  readonly requestId: string | undefined
  /**
   * Upstream gave no length and ended with the connection, so a part of the answer would look like
   * the whole: it is not cached.
   */
  readonly unmeasured?: true
}
/** All that comes back through the client's stack. */
export type BlossomAnswer = JsonAnswer | BytesAnswer | AsyncIterable<unknown>

/** The client's note in `meta`, under `client`. */
export interface ClientNote {
  /** Requests sent for this call. */
  attempts: number
  /** Upstream's id of the last one. */
  requestId: string | undefined
  /**
   * Headers of the last answer that are safe and of use: request id, cache, model used, limits. Empty
   * while there is none.
   */
  readonly headers: Readonly<Record<string, string>>
}
