import type { EventListener } from './events/index.js'

/** Tokens that a call has cost. */
export interface TokenUsage {
  readonly input: number
  readonly output: number
  /** Of the input, what upstream had in a cache. */
  readonly cachedInput?: number | undefined
  /** Of the output, what the model has only thought. */
  readonly reasoning?: number | undefined
}

/** What an answer, or a chunk of a stream, says of itself. */
export interface AnswerReport {
  /** Upstream's id of the answer. */
  readonly id?: string | undefined
  /** The model that has answered. */
  readonly model?: string | undefined
  /** Why the model has stopped. */
  readonly finishReason?: string | undefined
}

/** What layers must know of a base and may not guess. All optional. */
export interface BaseTraits<Request = unknown, Answer = unknown, Chunk = unknown> {
  /**
   * What the function is known by in events and in a store outside the process, where two functions
   * of one name share their answers. The name in its source does not count there: bundlers change
   * it, and two functions may have the same.
   * @default in events the name in its source; in a store none
   */
  name?: string | undefined
  /**
   * Whether this request asks for a stream. Without it nothing is known until the answer shows its
   * form.
   */
  streams?: ((request: Request) => boolean) | undefined
  /**
   * The request's identity, for `cache` and `dedupe`; equal identities may share one answer.
   * `undefined`: this request has none and bypasses both. Bases that share one cache must
   * differ in it. For `cache` a streamed and a plain form of one request should be the
   * same, for `dedupe` they should differ.
   * @default stable JSON of the request
   */
  key?: ((request: Request, use: 'cache' | 'dedupe') => string | undefined) | undefined
  /**
   * The model that answers this request, for layers that treat models apart: `breaker({ key:
   * 'model' })`.
   * @default none
   */
  model?: ((request: Request) => string | undefined) | undefined
  /**
   * This request for another model, for `fallback` and `hedge`; `undefined` when its model is not
   * to be changed. `endpoints` are the addresses that the model serves, where the operator has
   * listed them. It must not change the request that it is given.
   * @default none, and models cannot be named in those layers
   */
  withModel?:
    | ((request: Request, model: string, endpoints?: readonly string[]) => Request | undefined)
    | undefined
  /**
   * What a function of the user has given in place of an answer to this request, as an answer;
   * `undefined` when it is none. For `fallback`.
   * @default as it is
   */
  fromValue?: ((value: unknown, request: Request) => Answer | undefined) | undefined
  /**
   * The conversation that this request goes on with, for `pool({ affinity: true })`: equal texts go
   * to the same member.
   * @default none
   */
  conversation?: ((request: Request) => string | undefined) | undefined
  /**
   * The tokens that this request holds and may cost, for `rateLimit` and the fairness of `queue`.
   * `output` is what the request allows; undefined when it says nothing of it.
   * @default characters of its JSON / 4
   */
  weigh?:
    | ((request: Request) => { readonly input: number; readonly output?: number | undefined })
    | undefined
  /**
   * The tokens that an answer says it has cost. It is asked for each chunk of a stream, and the last
   * one that knows counts.
   * @default unknown
   */
  usage?: ((answer: Answer | Chunk) => TokenUsage | undefined) | undefined
  /**
   * What kind of work the request asks for, in one word such as `chat`, for events.
   * @default none
   */
  operation?: ((request: Request) => string | undefined) | undefined
  /**
   * What an answer says of itself, for events. It is asked for each chunk of a stream, and what the
   * last one says counts.
   * @default nothing
   */
  reports?: ((answer: Answer | Chunk) => AnswerReport | undefined) | undefined
  /**
   * What these tokens of this model cost, for events, in a unit of yours; `undefined` when that is
   * not known. The model is empty where the base knows none.
   * @default unknown
   */
  price?: ((model: string, tokens: TokenUsage) => number | undefined) | undefined
  /**
   * Whether upstream itself gives equal requests in progress one answer, so that a second one beside
   * the first is no faster: `hedge` sends it elsewhere, or not at all.
   * @default it does not
   */
  joins?: ((request: Request) => boolean) | undefined
  /**
   * Whether this request pays by a key of its own. When upstream refuses that key, or limits it,
   * this counts against no one else: no member of a `pool` pauses for it, no `breaker` opens.
   * @default no request does
   */
  ownKey?: ((request: Request) => boolean) | undefined
  /**
   * Whether this chunk commits the stream: from then on nothing is retried.
   * @default the first chunk commits
   */
  commits?: ((chunk: Chunk) => boolean) | undefined
  /** Whether a stream that ended well may be cached. @default yes */
  complete?: ((chunks: readonly Chunk[]) => boolean) | undefined
  /**
   * Whether a value is a whole answer: asked before it is cached, and again when a store outside
   * the process gives it back.
   * @default yes
   */
  valid?: ((answer: unknown) => boolean) | undefined
  /**
   * A plain answer as the chunks of a stream (`undefined`: it cannot be one), so that one stored
   * form can serve both.
   */
  toStream?: ((answer: Answer, request: Request) => readonly Chunk[] | undefined) | undefined
  /**
   * In which of several variants this request asks for a stream, for `replay`.
   * @default there is one
   */
  variant?: ((request: Request) => string) | undefined
  /**
   * The chunks of a stored stream, which was asked for in that variant, as this request asks for
   * them (`undefined`: it cannot have them). What came as text is given as text.
   * @default as they were stored
   */
  replay?:
    | ((
        chunks: readonly Chunk[],
        request: Request,
        variant: string | undefined,
      ) => readonly Chunk[] | undefined)
    | undefined
  /** The chunks of a complete stream as a plain answer. */
  fromStream?: ((chunks: readonly Chunk[], request: Request) => Answer | undefined) | undefined
  /**
   * For `batcher`: how many inputs the request holds and which requests may go together;
   * `undefined` bypasses the batcher.
   * @default an array's length
   */
  split?:
    | ((request: Request) => { readonly group: string; readonly size: number } | undefined)
    | undefined
  /**
   * For `batcher`: many requests of one group as one, and how to cut its answer back.
   * @default arrays, joined and sliced
   */
  merge?:
    | ((requests: readonly Request[]) => {
        readonly request: Request
        part(answer: Answer, from: number, size: number): Answer
      })
    | undefined
  /**
   * For `batcher`: a request of more inputs than it may send as several of at most `size`, in order,
   * and how to join their answers.
   * @default arrays, sliced and joined; with `split` or `merge` none, and such a request goes as it is
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
   * A stream whose first chunk nobody asks for within this time ends with `TIMEOUT`, phase `read`.
   * Milliseconds.
   * @default 30000
   */
  unreadMs?: number | undefined
  /**
   * Called with every event of the stacks on this base. What it throws is a warning and changes
   * nothing.
   */
  onEvent?: EventListener | undefined
}

/** A base's traits with the defaults filled in. */
export interface BaseFacts {
  readonly name: string
  /**
   * Keeps the identities of this base apart from those of others; empty when the base has a `key`
   * of its own.
   */
  readonly scope: string
  /**
   * The same in a store outside the process: the `name` that it was given; `undefined` when it has
   * neither that nor a `key`.
   */
  readonly sharedScope: string | undefined
  /** `undefined`: nothing is known of this request. */
  readonly streams: ((request: unknown) => boolean | undefined) | undefined
  readonly key: (request: unknown, use: 'cache' | 'dedupe') => string | undefined
  /** `undefined`: the base does not know models. */
  readonly model: ((request: unknown) => string | undefined) | undefined
  /** `undefined`: the base cannot change the model of a request. */
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
  /** Whether the base knows tokens: it has stated `weigh` or `usage`. */
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
