import type { Dispatcher } from 'undici'
import type {
  CloseOptions,
  EventListener,
  LayerDescription,
  LayerOf,
  StackStats,
  TokenUsage,
} from '../core/index.js'
import type { BatchOptions, BatchOutcome } from './batch/index.js'
import type {
  BlossomAnswer,
  BlossomCallOptions,
  BlossomRequest,
  BytesResult,
  ChatBody,
  ChatChunk,
  ChatCompletion,
  EmbeddingOptions,
  EmbeddingResult,
  FileInput,
  ImageEditOptions,
  ImageFields,
  ImageOptions,
  Model,
  RawRequest,
  ResponsesAnswer,
  ResponsesBody,
  ResponsesEvent,
  SpeechOptions,
  TextOptions,
  TextResult,
  TextStream,
  TranscribeOptions,
  Transcript,
  VideoOptions,
} from './types.js'

/** A layer that fits the client's stack. */
export type BlossomLayer = LayerOf<BlossomRequest, BlossomAnswer>

/** Options of `createBlossom()`. */
export interface BlossomOptions<Layers extends readonly BlossomLayer[] = readonly BlossomLayer[]> {
  /**
   * Goes into the `Authorization` header of requests to `baseURL`, and nowhere else. Without one
   * only model lists are served. A function is called before each attempt, so that a key can be
   * renewed; what it throws is the attempt's failure.
   */
  apiKey?: string | (() => string | Promise<string>) | undefined
  /** Where upstream is, without `/v1`. @default 'https://gen.pollinations.ai' */
  baseURL?: string | undefined
  /** Sent with every request. Those that the client sets itself are refused. */
  headers?: Readonly<Record<string, string>> | undefined
  /**
   * An undici dispatcher to send through. It stays yours: the client never closes it.
   * @default one of its own
   */
  dispatcher?: Dispatcher | undefined
  /** What the client calls itself. @default 'blossom-stack/VERSION' */
  userAgent?: string | undefined
  /**
   * Largest answer that is read; an event of a stream may have 8 MiB at most. Bytes.
   * @default 33554432 (32 MiB)
   */
  maxResponseBytes?: number | undefined
  /**
   * Pollinations may report a balance or budget that is used up, and a model that the key may not
   * use, as an answer of 200 with an assistant's text. `error` makes a `PaymentRequiredError` or a
   * `PermissionError` of it; `pass` hands it on.
   * @default 'error'
   */
  notices?: 'error' | 'pass' | undefined
  /**
   * Called with every event of this client's calls, as it happens. What it throws is a warning and
   * changes nothing.
   */
  onEvent?: EventListener | undefined
  /**
   * What tokens of a model cost, in a unit of yours: then events and metrics hold the cost of each
   * call. `undefined` for a model without a price.
   * @default no prices
   */
  price?: ((model: string, tokens: TokenUsage) => number | undefined) | undefined
  /** The same as `use(...layers)`. */
  layers?: Layers | undefined
}

/**
 * The client. Its methods check what they are given before anything is sent, and reject with a
 * `ValidationError`.
 */
export interface Blossom<Layers extends readonly unknown[] = readonly unknown[]> {
  /**
   * Puts layers around the client, the first listed outermost. If it is called again, the new
   * layers go outside the earlier ones. Returns this client, with the layers in its type.
   * @throws ConfigError once the client has been used
   */
  use<const More extends readonly BlossomLayer[]>(
    ...layers: More
  ): Blossom<readonly [...Layers, ...More]>
  readonly text: {
    /** Sends one user message and gives the text of the answer. */
    generate(prompt: string, options?: TextOptions): Promise<TextResult>
    /** The same as a stream. It begins once the first token is there. */
    stream(prompt: string, options?: TextOptions): Promise<TextStream>
    /** Many prompts with bounded concurrency; a prompt that fails costs its own outcome only. */
    batch(
      prompts: Iterable<string> | AsyncIterable<string>,
      options?: BatchOptions,
    ): AsyncGenerator<BatchOutcome, undefined, undefined>
  }
  readonly chat: {
    /** An OpenAI chat completion, body and answer as they are on the wire. */
    create(body: ChatBody, options?: BlossomCallOptions): Promise<ChatCompletion>
    /** The same as a stream of chunks. */
    stream(
      body: ChatBody,
      options?: BlossomCallOptions,
    ): Promise<AsyncGenerator<ChatChunk, undefined, undefined>>
  }
  readonly responses: {
    /** A response of OpenAI's Responses API, body and answer as they are on the wire. */
    create(body: ResponsesBody, options?: BlossomCallOptions): Promise<ResponsesAnswer>
    /** The same as a stream of events. It begins once there is something of the answer. */
    stream(
      body: ResponsesBody,
      options?: BlossomCallOptions,
    ): Promise<AsyncGenerator<ResponsesEvent, undefined, undefined>>
  }
  readonly image: {
    /** Makes an image and gives its bytes. */
    generate(prompt: string, options?: ImageOptions): Promise<BytesResult>
    /** Changes a picture by a prompt, and gives the bytes of the new one. */
    edit(prompt: string, options: ImageEditOptions): Promise<BytesResult>
    /** The image's address, without a key: whoever opens it pays with their own. */
    url(prompt: string, options?: ImageFields): string
  }
  readonly audio: {
    /** Speaks a text and gives the bytes. */
    speech(text: string, options?: SpeechOptions): Promise<BytesResult>
    /** Writes down what is said in a file; upstream takes 25 MB at most. */
    transcribe(file: FileInput, options?: TranscribeOptions): Promise<Transcript>
  }
  readonly video: {
    /** Makes a video and gives its bytes. */
    generate(prompt: string, options?: VideoOptions): Promise<BytesResult>
  }
  readonly embeddings: {
    /** At most 32 inputs upstream; a `batcher` merges small calls and divides large ones. */
    create(input: string | readonly string[], options?: EmbeddingOptions): Promise<EmbeddingResult>
  }
  readonly models: {
    /** The models that upstream serves; needs no key. */
    list(options?: BlossomCallOptions): Promise<Model[]>
  }
  readonly account: {
    /** What is left on the account, in pollen. */
    balance(options?: BlossomCallOptions): Promise<{ balance: number }>
  }
  /**
   * Any other path, through the same stack. JSON comes parsed, other answers as `{ bytes,
   * contentType }`, with `stream: true` in the body an async generator.
   */
  request<Answer = unknown>(request: RawRequest, options?: BlossomCallOptions): Promise<Answer>
  /** The layers' stats, keyed by their names. */
  stats(): StackStats<Layers>
  /** The layers, outermost first, with live stats and a note where the order is odd. */
  describe(): LayerDescription[]
  /**
   * Lets running calls finish, ends waiting ones with `CLOSED`, cuts what is left after `timeoutMs`
   * (30 s), closes the connections.
   */
  close(options?: CloseOptions): Promise<void>
  /** `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}
