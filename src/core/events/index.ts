import { channel, subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { ConfigError, type ErrorCode, type TimeoutPhase } from '../errors.js'
import { runHook } from '../warn.js'

/**
 * Why something failed: the error's `code`, or `ERROR` for an error from outside this library. The
 * error's message is left out because it may quote the prompt.
 */
export type EventCode = ErrorCode | 'ERROR'

/**
 * How a call or attempt ended. `aborted`: its caller aborted it. `left`: the reader stopped reading
 * the stream before its end.
 */
export type EventOutcome = 'complete' | 'failed' | 'aborted' | 'left'

/** Token counts as reported by upstream. */
export interface EventUsage {
  readonly input: number
  readonly output: number
  /** Part of the input that upstream had cached. */
  readonly cached?: number
  /** Part of the output that the model spent on reasoning. */
  readonly reasoning?: number
}

/** What the base knows about a request. */
interface AskedDetails {
  /** Kind of work: `chat`, `embeddings`, `image`, `speech` and so on. */
  readonly operation?: string
  /** The requested model. */
  readonly model?: string
  /** Whether the request asks for a stream. */
  readonly stream?: boolean
  readonly tenant?: string
}

/** What the base knows about an answer. */
interface AnsweredDetails {
  /** The model that answered. */
  readonly responseModel?: string
  /** Upstream's id of the answer. */
  readonly responseId?: string
  /** Why the model stopped. With several choices, that of the first. */
  readonly finishReason?: string
  readonly usage?: EventUsage
  /** Cost of `usage`, from the trait or option `price`. */
  readonly cost?: number
}

/** The fields of each event type, in addition to `call`, `stack` and `at`. */
export interface StackEventDetails {
  /**
   * A call started. When its stack is the base of another, `parent` is the outer call and `attempt`
   * the outer call's attempt.
   */
  'call:start': AskedDetails & { readonly parent?: string; readonly attempt?: number }
  /** A call waited for its turn or for a connection, whether or not it got one. */
  queued: { readonly layer: string; readonly waitedMs: number }
  /** What the cache had for the call. */
  cache: { readonly layer: string; readonly status: 'hit' | 'stale' | 'miss' }
  /** The call shares the work of another call. Events of that work carry the other call's id. */
  joined: { readonly layer: string; readonly work?: string }
  /** The base was called. Attempts count from 1. `member` is the pool member that was chosen. */
  'attempt:start': { readonly attempt: number; readonly member?: number }
  /**
   * The base's answer ended; for a stream, with its last chunk. If the work ignores an abort, this
   * comes after `call:end`. Usage and cost appear here once, however many calls share the answer.
   */
  'attempt:end': AskedDetails &
    AnsweredDetails & {
      readonly attempt: number
      readonly member?: number
      readonly outcome: EventOutcome
      readonly code?: EventCode
      /** HTTP status of upstream's response. */
      readonly status?: number
      /** From the attempt's start to its stream's first token. Milliseconds. */
      readonly firstTokenMs?: number
      readonly durationMs: number
      /** The attempt was a call of another stack, whose own attempts carry the usage. */
      readonly nested?: true
    }
  /** A failed attempt will be repeated after `delayMs`. */
  retry: {
    readonly layer: string
    readonly attempt: number
    readonly delayMs: number
    readonly code: EventCode
  }
  /**
   * The call moves on to another candidate. `candidate` is its position in the list. `code` is why
   * the previous one failed; without it, that one was skipped or its answer was rejected.
   */
  fallback: {
    readonly layer: string
    readonly candidate: number
    readonly model?: string
    readonly code?: EventCode
  }
  /**
   * The outcome of a second try that started after `delayMs` without an answer: it `won`, `lost`,
   * or was `refused` before it ran. `model` is the model it asked for.
   */
  hedge: {
    readonly layer: string
    readonly outcome: 'won' | 'lost' | 'refused'
    readonly delayMs: number
    readonly model?: string
  }
  /**
   * The outcome of this call changed a circuit's state. `elsewhere`: another process changed it,
   * and this call is the first to notice.
   */
  breaker: {
    readonly layer: string
    readonly state: 'closed' | 'open' | 'half-open'
    readonly elsewhere?: true
  }
  /** This call brought the cost to 80% of a `rateLimit()`'s limit. Once per window and key. */
  budget: {
    readonly layer: string
    readonly tenant?: string
    readonly spent: number
    readonly limit: number
  }
  /** Other processes could not be reached in time, so the layer decided for this process alone. */
  alone: { readonly layer: string }
  /** A time limit ended the call; without `layer`, the call's own `timeoutMs` or `deadline`. */
  timeout: { readonly layer?: string; readonly phase: TimeoutPhase; readonly limitMs: number }
  /** The stream committed (its first token arrived) and was handed out. */
  'first-token': { readonly afterMs: number }
  /**
   * The call ended; for a stream, after its last chunk. Usage and cost are the sum of its attempts
   * so far. Both are absent for a cache hit and for a call that joined another.
   */
  'call:end': AskedDetails &
    AnsweredDetails & {
      readonly outcome: EventOutcome
      readonly code?: EventCode
      /** The layer that rejected or ended the call. */
      readonly layer?: string
      readonly durationMs: number
      /** The part of `durationMs` spent waiting for a turn or a connection. */
      readonly queuedMs: number
      readonly firstTokenMs?: number
      /** How often the base was called: 0 for a cache hit, and for a call that joined another. */
      readonly attempts: number
      /** How many events did not fit into the timeline. */
      readonly omitted?: number
    }
}

/** The event types: the keys of `StackEventDetails`. */
export type StackEventType = keyof StackEventDetails

/**
 * Something that happened to a call. Contains names, numbers and codes, and never a prompt, a key,
 * a body, or a message that could quote one. Names of models and tenants are cut at 128 characters.
 * `at` is a time on the `performance.now()` clock; durations are in milliseconds.
 */
export type StackEvent = {
  [Type in StackEventType]: {
    readonly type: Type
    /**
     * Id of the call, unique across processes. Some events can come after the call's end, such as
     * those of shared work or of a breaker's timer.
     */
    readonly call: string
    /** Name of the base: the function's name, or `blossom` for the client. */
    readonly stack: string
    readonly at: number
  } & StackEventDetails[Type]
}[StackEventType]

/** One entry of a call's timeline: an event, and its time after the call's start. */
export type TimelineEntry = {
  [Type in StackEventType]: {
    readonly type: Type
    readonly afterMs: number
  } & StackEventDetails[Type]
}[StackEventType]

/**
 * The message on the tracing channels of `blossom-stack:call`. Each call has one object, from its
 * start to its end.
 */
export interface CallMessage {
  readonly call: string
  readonly stack: string
  readonly parent?: string | undefined
  /** Set when the call ends. */
  outcome?: EventOutcome
  code?: EventCode | undefined
}

const of = (type: StackEventType) => channel(`blossom-stack:${type}`)
const callStart = of('call:start')
const queued = of('queued')
const cache = of('cache')
const joined = of('joined')
const attemptStart = of('attempt:start')
const attemptEnd = of('attempt:end')
const retry = of('retry')
const fallback = of('fallback')
const hedge = of('hedge')
const breaker = of('breaker')
const budget = of('budget')
const alone = of('alone')
const timeout = of('timeout')
const firstToken = of('first-token')
const callEnd = of('call:end')

/** @internal */
export const channels: Readonly<Record<StackEventType, ReturnType<typeof of>>> = {
  'call:start': callStart,
  queued,
  cache,
  joined,
  'attempt:start': attemptStart,
  'attempt:end': attemptEnd,
  retry,
  fallback,
  hedge,
  breaker,
  budget,
  alone,
  timeout,
  'first-token': firstToken,
  'call:end': callEnd,
}

/**
 * A tracing channel for whole calls, for tools that run work in a context of their own. `start`
 * runs the call in the stores bound with `bindStore()`. `end` follows when the synchronous part is
 * over, `asyncStart` when the answer is handed out, and `asyncEnd` when it ends, after `error` if
 * it failed.
 */
export const callTracing = tracingChannel<unknown, CallMessage>('blossom-stack:call')
const { start, end, asyncStart, asyncEnd, error } = callTracing

/**
 * Whether anybody listens to events. Checked once per call. The checks are written out one by one
 * because V8 then optimizes them away while nobody listens.
 */
export function isObserved(): boolean {
  return (
    callStart.hasSubscribers ||
    queued.hasSubscribers ||
    cache.hasSubscribers ||
    joined.hasSubscribers ||
    attemptStart.hasSubscribers ||
    attemptEnd.hasSubscribers ||
    retry.hasSubscribers ||
    fallback.hasSubscribers ||
    hedge.hasSubscribers ||
    breaker.hasSubscribers ||
    budget.hasSubscribers ||
    alone.hasSubscribers ||
    timeout.hasSubscribers ||
    firstToken.hasSubscribers ||
    callEnd.hasSubscribers ||
    start.hasSubscribers ||
    end.hasSubscribers ||
    asyncStart.hasSubscribers ||
    asyncEnd.hasSubscribers ||
    error.hasSubscribers
  )
}

/** A listener for `onEvent()`. An error it throws becomes a warning and changes nothing. */
export type EventListener = (event: StackEvent) => void

/**
 * Calls `listener` with every event of every stack in this process, in order and as it happens.
 * Returns a function that removes the listener.
 *
 * Events are published on `node:diagnostics_channel` channels named `blossom-stack:` plus the
 * event's type, such as `blossom-stack:retry`. Whole calls are also published on the tracing
 * channel `blossom-stack:call`. You may subscribe to a channel yourself, but if that listener
 * throws, Node ends the process. A listener that throws here only causes a warning. Calls that
 * started before `onEvent()` are not reported.
 *
 * @throws ConfigError (`CONFIG`) when the listener is not a function
 * @example const stop = onEvent((event) => { if (event.type === 'retry') log.info(event) })
 * @see https://nodejs.org/api/diagnostics_channel.html
 */
export function onEvent(listener: EventListener): () => void {
  if (typeof listener !== 'function')
    throw new ConfigError('onEvent: the listener must be a function that takes an event.')
  const guarded = (event: unknown) => runHook('onEvent()', () => listener(event as StackEvent))
  for (const { name } of Object.values(channels)) subscribe(name, guarded)
  return () => {
    for (const { name } of Object.values(channels)) unsubscribe(name, guarded)
  }
}
