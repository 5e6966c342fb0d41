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

/** A layer that can be used in the client's stack. */
export type BlossomLayer = LayerOf<BlossomRequest, BlossomAnswer>

/** Options of `createBlossom()`. */
export interface BlossomOptions<Layers extends readonly BlossomLayer[] = readonly BlossomLayer[]> {
  /**
   * API key, or a function that returns one. It is sent in the `Authorization` header of requests
   * to `baseURL`, and nowhere else. A function is called before each attempt, so that the key can
   * be renewed; if it throws, the attempt fails with that error.
   * @default none: upstream then serves only its lists of models
   */
  apiKey?: string | (() => string | Promise<string>) | undefined
  /** Upstream's address, without `/v1`. @default 'https://gen.pollinations.ai' */
  baseURL?: string | undefined
  /**
   * Extra headers for every request. Headers that the client sets itself are not allowed.
   * @default none
   */
  headers?: Readonly<Record<string, string>> | undefined
  /**
   * An undici dispatcher that sends all requests, such as a `ProxyAgent`. The client never closes
   * it.
   * @default an agent of the client's own
   */
  dispatcher?: Dispatcher | undefined
  /** Value of the `user-agent` header. @default 'blossom-stack/VERSION' */
  userAgent?: string | undefined
  /**
   * Maximum size of an answer, in bytes, at least 1. A single event of a stream is also limited to
   * 8 MiB. Larger answers fail with `TOO_LARGE`.
   * @default 33554432 (32 MiB)
   */
  maxResponseBytes?: number | undefined
  /**
   * How to treat notices that Pollinations sends as an answer with status 200: the balance or
   * budget is used up, or the key may not use the model. `error` turns them into a
   * `PaymentRequiredError` or a `PermissionError`; `pass` returns them as the answer.
   * @default 'error'
   */
  notices?: 'error' | 'pass' | undefined
  /**
   * Called with every event of this client's calls, as it happens. If it throws, a warning is
   * emitted and the call continues.
   * @default none
   */
  onEvent?: EventListener | undefined
  /**
   * Returns the cost of a call's tokens, in a unit of your choice, or `undefined` for a model
   * without a price. Events and metrics then include the cost of each call.
   * @default none
   */
  price?: ((model: string, tokens: TokenUsage) => number | undefined) | undefined
  /** Layers around the client, outermost first; the same as `use(...layers)`. @default none */
  layers?: Layers | undefined
}

/**
 * A client for Blossom. Its methods check their arguments before anything is sent, and reject with
 * a `ValidationError` (`VALIDATION`) if one is invalid.
 */
export interface Blossom<Layers extends readonly unknown[] = readonly unknown[]> {
  /**
   * Adds layers around the client, the first one outermost. Layers added by a later call go outside
   * the earlier ones. Returns this client, with the layers in its type.
   * @throws ConfigError (`CONFIG`) after the first call, `stats()` or `describe()`
   */
  use<const More extends readonly BlossomLayer[]>(
    ...layers: More
  ): Blossom<readonly [...Layers, ...More]>
  /** Text from a single prompt. */
  readonly text: {
    /** Sends one user message and returns the text of the answer. */
    generate(prompt: string, options?: TextOptions): Promise<TextResult>
    /** Sends one user message and streams the text of the answer. Resolves at the first token. */
    stream(prompt: string, options?: TextOptions): Promise<TextStream>
    /**
     * Generates a text for each prompt, with limited concurrency. A failure is reported as the
     * outcome of its prompt and does not stop the batch.
     */
    batch(
      prompts: Iterable<string> | AsyncIterable<string>,
      options?: BatchOptions,
    ): AsyncGenerator<BatchOutcome, undefined, undefined>
  }
  /** OpenAI's chat completions. */
  readonly chat: {
    /** Creates an OpenAI chat completion. Body and answer are passed through unchanged. */
    create(body: ChatBody, options?: BlossomCallOptions): Promise<ChatCompletion>
    /** Streams the chunks of an OpenAI chat completion. Resolves at the first output. */
    stream(
      body: ChatBody,
      options?: BlossomCallOptions,
    ): Promise<AsyncGenerator<ChatChunk, undefined, undefined>>
  }
  /** OpenAI's Responses API. */
  readonly responses: {
    /**
     * Creates a response of OpenAI's Responses API. Body and answer are passed through unchanged.
     */
    create(body: ResponsesBody, options?: BlossomCallOptions): Promise<ResponsesAnswer>
    /** Streams the events of a response of OpenAI's Responses API. Resolves at the first output. */
    stream(
      body: ResponsesBody,
      options?: BlossomCallOptions,
    ): Promise<AsyncGenerator<ResponsesEvent, undefined, undefined>>
  }
  /** Images. */
  readonly image: {
    /** Generates an image and returns its bytes. */
    generate(prompt: string, options?: ImageOptions): Promise<BytesResult>
    /** Edits an image as the prompt describes and returns the bytes of the new one. */
    edit(prompt: string, options: ImageEditOptions): Promise<BytesResult>
    /**
     * Returns the URL of an image without sending a request. The URL contains no key, so whoever
     * opens it needs their own.
     */
    url(prompt: string, options?: ImageFields): string
  }
  /** Speech and transcription. */
  readonly audio: {
    /** Converts a text to speech and returns the bytes of the audio. */
    speech(text: string, options?: SpeechOptions): Promise<BytesResult>
    /** Transcribes an audio file. Upstream accepts at most 25 MB. */
    transcribe(file: FileInput, options?: TranscribeOptions): Promise<Transcript>
  }
  /** Videos. */
  readonly video: {
    /** Generates a video and returns its bytes. */
    generate(prompt: string, options?: VideoOptions): Promise<BytesResult>
  }
  /** Embeddings. */
  readonly embeddings: {
    /**
     * Returns one vector for each input. Upstream accepts at most 32 inputs in a call; the
     * `batcher` layer merges small calls and splits large ones.
     */
    create(input: string | readonly string[], options?: EmbeddingOptions): Promise<EmbeddingResult>
  }
  /** Upstream's models. */
  readonly models: {
    /** Lists the models that upstream serves. Needs no key. */
    list(options?: BlossomCallOptions): Promise<Model[]>
  }
  /** The account of the API key. */
  readonly account: {
    /** Returns the account's remaining balance, in pollen. */
    balance(options?: BlossomCallOptions): Promise<{ balance: number }>
  }
  /**
   * Sends a request to any other path, through the same stack. Returns parsed JSON; `{ bytes,
   * contentType }` for other content types; or an async generator if the body has `stream: true`.
   */
  request<Answer = unknown>(request: RawRequest, options?: BlossomCallOptions): Promise<Answer>
  /** Returns the layers' stats, keyed by layer name. */
  stats(): StackStats<Layers>
  /**
   * Returns the layers, outermost first, with their stats and a note where the order looks wrong.
   */
  describe(): LayerDescription[]
  /**
   * Closes the client. Waiting calls fail with `CLOSED`; running calls may finish until `timeoutMs`
   * (default 30,000) and are then aborted; finally the connections are closed.
   */
  close(options?: CloseOptions): Promise<void>
  /** Calls `close()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}
