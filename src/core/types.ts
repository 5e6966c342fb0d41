import type { EventListener } from './events/index.js'
import type { Trace } from './events/trace.js'
import type { Cancel } from './time/cancel.js'

/** A value, or a promise of one. */
export type MaybePromise<T> = T | Promise<T>

/**
 * The work itself: takes a request, gives an answer. An answer is a value or an `AsyncIterable` (a
 * stream). A handler may answer without a promise, so `await` it.
 */
export type Handler<Request = unknown, Answer = unknown> = (
  request: Request,
  context: Context,
) => MaybePromise<Answer>

/**
 * How the stores and shared calls treat a call: `reload` reads nothing stored but stores the
 * answer, `no-store` bypasses cache and dedupe.
 */
export type CacheMode = 'default' | 'reload' | 'no-store'

/** What a caller may pass beside the request. */
export interface CallOptions {
  /** The caller's own cancellation; its `reason` is what the call then rejects with. */
  signal?: AbortSignal | undefined
  /**
   * Longest time for the whole answer, in milliseconds. Tightens what layers allow, never widens
   * it.
   */
  timeoutMs?: number | undefined
  /** Absolute moment on the `performance.now()` clock; tightens like `timeoutMs`. */
  deadline?: number | undefined
  /** Larger goes first where calls wait. @default 0 */
  priority?: number | undefined
  /** On whose behalf: answers are never shared between tenants. */
  tenant?: string | undefined
  /**
   * Whether stored answers, and answers of others in progress, may serve this call.
   * @default 'default'
   */
  cache?: CacheMode | undefined
  /**
   * A map to receive the notes that layers leave (attempts, hit or miss, time queued), under each
   * layer's name.
   */
  meta?: Map<string, unknown> | undefined
}

/**
 * How the base should reach its upstream, offered by a layer further out (`pool`); the core hands
 * it inward unread.
 */
export interface Transport {
  readonly baseURL?: string | undefined
  readonly apiKey?: string | undefined
  /** Which member of the pool was chosen. */
  readonly member?: number | undefined
  /** How many connections the member may have. */
  readonly connections?: number | undefined
}

/** What a layer may narrow for the layers inside it. */
export interface ContextPatch {
  cancel?: Cancel | undefined
  /** Only ever tightens. */
  deadline?: number | undefined
  priority?: number | undefined
  transport?: Transport | undefined
}

/**
 * Key in a call's notes: whether another attempt would go to somebody else, so that the wait which
 * the last one was asked for is not for it. `pool` notes it, `retry` reads it; they know nothing
 * else of each other.
 */
export const ELSEWHERE = 'elsewhere'

/**
 * Key in a call's notes: for which share of its time, from 0 to 1, a cache further out keeps the
 * answer. Without the note it is 1. `retry` notes it, `cache` reads it.
 */
export const KEEP = 'keep'

/** What goes inward with a call. It is derived, never changed. */
export interface Context {
  /**
   * The call's cancellation as a standard signal; made at the first reading, so read it only to
   * hand it on.
   */
  readonly signal: AbortSignal
  /** The call's cancellation in its light form. */
  readonly cancel: Cancel
  /** Aborted when the stack begins to close: what only waits should end then. */
  readonly closing: Cancel
  /**
   * Absolute moment on the `performance.now()` clock by which the answer must be complete;
   * `Infinity` if there is none.
   */
  readonly deadline: number
  /** Notes that flow outward, under the layers' names; one map per call. */
  readonly meta: Map<string, unknown>
  /** The base's traits. */
  readonly base: BaseFacts
  readonly priority: number
  readonly tenant: string | undefined
  readonly cache: CacheMode
  readonly transport: Transport | undefined
  /** Publishes what happens to the call; undefined while nobody listens. @internal */
  readonly trace: Trace | undefined
  /**
   * The request's identity by the base's `key`, computed once in a call although several layers ask
   * for it.
   */
  keyOf(request: unknown, use: 'cache' | 'dedupe'): string | undefined
  /**
   * A context for the layers inside, narrowed by `patch`. (An object spread would build the lazy
   * `signal`.)
   */
  derive(patch: ContextPatch): Context
  /**
   * A context for work that several callers share: no caller's signal, its own notes; `close()`
   * counts it.
   */
  detach(): SharedWork
}

/** Work that several callers share. It is aborted when the last caller who joined has left. */
export interface SharedWork {
  readonly context: Context
  /** How many callers are still there. */
  readonly callers: number
  /**
   * Counts a caller in, until the returned function is called. The work's deadline is the latest
   * among the callers still there.
   */
  join(caller: Context): (reason?: unknown) => void
  /** Copies the notes made so far to a caller. */
  tell(caller: Context): void
  /** The work is over: from now on nobody's leaving aborts it. */
  end(): void
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
  readonly ownKey: (request: unknown) => boolean | undefined
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
  readonly unreadMs: number
  readonly onEvent: EventListener | undefined
}
