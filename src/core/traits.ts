import type { EventListener } from './events/index.js'

/** Tokens that a call used. */
export interface TokenUsage {
  readonly input: number
  readonly output: number
  /** Part of the input that upstream had cached. */
  readonly cachedInput?: number | undefined
  /** Part of the output that the model spent on reasoning. */
  readonly reasoning?: number | undefined
}

/** Details that an answer, or a chunk of a stream, contains about itself. */
export interface AnswerReport {
  /** Upstream's id of the answer. */
  readonly id?: string | undefined
  /** The model that answered. */
  readonly model?: string | undefined
  /** Why the model stopped. */
  readonly finishReason?: string | undefined
}

/** Facts about a base that layers need and cannot find out by themselves. All are optional. */
export interface BaseTraits<Request = unknown, Answer = unknown, Chunk = unknown> {
  /**
   * Name of the function in events and in external stores. Functions with the same name share their
   * stored answers. In a store, the name from the source code does not count, because bundlers
   * change it and two functions may have the same one.
   * @default in events the function's name; in a store none
   */
  name?: string | undefined
  /**
   * Whether this request asks for a stream. Without this trait, layers learn it only from the
   * answer.
   */
  streams?: ((request: Request) => boolean) | undefined
  /**
   * Identifies the request, for `cache` and `dedupe`. Requests with equal keys may share one
   * answer. With `undefined` the request bypasses both. Bases that share one cache must return
   * different keys. For `cache`, return the same key for the streamed and the plain form of a
   * request; for `dedupe`, different keys.
   * @default stable JSON of the request
   */
  key?: ((request: Request, use: 'cache' | 'dedupe') => string | undefined) | undefined
  /**
   * The model that this request asks for, for layers that treat models separately, such as
   * `breaker({ key: 'model' })`.
   * @default none
   */
  model?: ((request: Request) => string | undefined) | undefined
  /**
   * Returns this request for another model, for `fallback` and `hedge`. Return `undefined` when the
   * model must not change. `endpoints` are the API paths that the model serves, if the operator has
   * listed them. Must not change the given request.
   * @default none; these layers then accept no model names
   */
  withModel?:
    | ((request: Request, model: string, endpoints?: readonly string[]) => Request | undefined)
    | undefined
  /**
   * Converts the value of a `fallback` function to an answer to this request. Return `undefined`
   * when the value is not an answer.
   * @default the value as it is
   */
  fromValue?: ((value: unknown, request: Request) => Answer | undefined) | undefined
  /**
   * Identifies the conversation that this request belongs to, for `pool({ affinity: true })`.
   * Requests with equal values go to the same member.
   * @default none
   */
  conversation?: ((request: Request) => string | undefined) | undefined
  /**
   * Counts the tokens of this request, for `rateLimit` and the fairness of `queue`. `output` is the
   * maximum that the request allows, or undefined if it has none.
   * @default characters of its JSON / 4
   */
  weigh?:
    | ((request: Request) => { readonly input: number; readonly output?: number | undefined })
    | undefined
  /**
   * Returns the tokens that an answer reports as used. Called for each chunk of a stream; the last
   * value other than `undefined` counts.
   * @default unknown
   */
  usage?: ((answer: Answer | Chunk) => TokenUsage | undefined) | undefined
  /**
   * Kind of work that the request asks for, as one word such as `chat`, for events.
   * @default none
   */
  operation?: ((request: Request) => string | undefined) | undefined
  /**
   * Returns details that an answer contains about itself, for events. Called for each chunk of a
   * stream; later values replace earlier ones.
   * @default nothing
   */
  reports?: ((answer: Answer | Chunk) => AnswerReport | undefined) | undefined
  /**
   * Returns the cost of these tokens, for events, in a unit of your choice, or `undefined` when it
   * is unknown. `model` is empty when the base does not know the model.
   * @default unknown
   */
  price?: ((model: string, tokens: TokenUsage) => number | undefined) | undefined
  /**
   * Whether upstream gives equal requests in progress the same answer. A second request is then no
   * faster, so `hedge` sends it to another target or not at all.
   * @default false for all requests
   */
  joins?: ((request: Request) => boolean) | undefined
  /**
   * Whether this request brings its own API key. When upstream rejects or limits that key, no
   * member of a `pool` pauses and no circuit of a `breaker` opens.
   * @default false for all requests
   */
  ownKey?: ((request: Request) => boolean) | undefined
  /**
   * Whether this chunk commits the stream. After the commit nothing is retried.
   * @default the first chunk commits
   */
  commits?: ((chunk: Chunk) => boolean) | undefined
  /** Whether a stream that ended normally may be cached. @default true */
  complete?: ((chunks: readonly Chunk[]) => boolean) | undefined
  /**
   * Whether a value is a complete answer. Called before it is cached, and again when it is read
   * from an external store.
   * @default true
   */
  valid?: ((answer: unknown) => boolean) | undefined
  /**
   * Converts a plain answer to the chunks of a stream, so that one stored answer can serve both.
   * Return `undefined` when that is impossible.
   */
  toStream?: ((answer: Answer, request: Request) => readonly Chunk[] | undefined) | undefined
  /**
   * Names the variant of the stream that this request asks for, for `replay`.
   * @default there is only one
   */
  variant?: ((request: Request) => string) | undefined
  /**
   * Adapts the chunks of a stored stream, requested in `variant`, to this request. Return
   * `undefined` when that is impossible. Chunks that arrived as text are returned as text.
   * @default the chunks as stored
   */
  replay?:
    | ((
        chunks: readonly Chunk[],
        request: Request,
        variant: string | undefined,
      ) => readonly Chunk[] | undefined)
    | undefined
  /** Converts the chunks of a complete stream to a plain answer. */
  fromStream?: ((chunks: readonly Chunk[], request: Request) => Answer | undefined) | undefined
  /**
   * For `batcher`: the number of inputs in the request, and the group of requests it may be merged
   * with. With `undefined` the request bypasses the batcher.
   * @default the length of an array
   */
  split?:
    | ((request: Request) => { readonly group: string; readonly size: number } | undefined)
    | undefined
  /**
   * For `batcher`: merges requests of one group into one request, and cuts its answer into parts.
   * @default concatenates and slices arrays
   */
  merge?:
    | ((requests: readonly Request[]) => {
        readonly request: Request
        part(answer: Answer, from: number, size: number): Answer
      })
    | undefined
  /**
   * For `batcher`: divides a request with too many inputs into several of at most `size`, in order,
   * and joins their answers.
   * @default slices and joins arrays; with `split` or `merge` given, large requests are sent
   * undivided
   */
  divide?:
    | ((
        request: Request,
        size: number,
      ) => {
        readonly requests: readonly Request[]
        join(answers: readonly Answer[]): Answer
      })
    | undefined
  /**
   * Ends a stream with `TIMEOUT`, phase `read`, when nobody asks for its first chunk within this
   * time. Milliseconds.
   * @default 30000
   */
  unreadMs?: number | undefined
  /**
   * Called with every event of the stacks on this base. An error it throws becomes a warning and
   * changes nothing.
   */
  onEvent?: EventListener | undefined
}

/** A base's traits with defaults filled in. */
export interface BaseFacts {
  readonly name: string
  /**
   * Keeps the keys of this base apart from those of others. Empty when the base has its own `key`.
   */
  readonly scope: string
  /**
   * Does the same in an external store: the base's `name`. Empty when the base has its own `key`;
   * undefined when it has neither.
   */
  readonly sharedScope: string | undefined
  /** `undefined` when nothing is known about this request. */
  readonly streams: ((request: unknown) => boolean | undefined) | undefined
  readonly key: (request: unknown, use: 'cache' | 'dedupe') => string | undefined
  /** `undefined` when the base does not know models. */
  readonly model: ((request: unknown) => string | undefined) | undefined
  /** `undefined` when the base cannot change the model of a request. */
  readonly withModel:
    | ((request: unknown, model: string, endpoints?: readonly string[]) => unknown)
    | undefined
  readonly fromValue: ((value: unknown, request: unknown) => unknown) | undefined
  readonly joins: (request: unknown) => boolean | undefined
  readonly ownKey: (request: unknown) => boolean | undefined
  readonly conversation: (request: unknown) => string | undefined
  readonly weigh: (
    request: unknown,
  ) => { readonly input: number; readonly output?: number | undefined } | undefined
  readonly usage: (answer: unknown) => TokenUsage | undefined
  readonly operation: (request: unknown) => string | undefined
  readonly reports: (answer: unknown) => AnswerReport | undefined
  readonly price: (model: string, tokens: TokenUsage) => number | undefined
  /** Whether the base knows tokens, because it has `weigh` or `usage`. */
  readonly countsTokens: boolean
  readonly commits: (chunk: unknown) => boolean
  readonly complete: (chunks: readonly unknown[]) => boolean
  readonly valid: (answer: unknown) => boolean
  readonly toStream:
    | ((answer: unknown, request: unknown) => readonly unknown[] | undefined)
    | undefined
  readonly variant: (request: unknown) => string | undefined
  readonly replay: (
    chunks: readonly unknown[],
    request: unknown,
    variant: string | undefined,
  ) => readonly unknown[] | undefined
  readonly fromStream: ((chunks: readonly unknown[], request: unknown) => unknown) | undefined
  readonly split: (
    request: unknown,
  ) => { readonly group: string; readonly size: number } | undefined
  readonly merge: (requests: readonly unknown[]) => {
    readonly request: unknown
    part(answer: unknown, from: number, size: number): unknown
  }
  readonly divide:
    | ((
        request: unknown,
        size: number,
      ) => {
        readonly requests: readonly unknown[]
        join(answers: readonly unknown[]): unknown
      })
    | undefined
  readonly unreadMs: number
  readonly onEvent: EventListener | undefined
}
