import { channel, subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { ConfigError, type ErrorCode, type TimeoutPhase } from '../errors.js'
import { runHook } from '../warn.js'

/**
 * Why something failed: an error's `code`, or `ERROR` for one that is not this library's. Never its
 * message, which may quote the prompt.
 */
export type EventCode = ErrorCode | 'ERROR'

/**
 * How a call or an attempt ended. `aborted`: by its caller. `left`: the reader of its stream went
 * before the end.
 */
export type EventOutcome = 'complete' | 'failed' | 'aborted' | 'left'

/** Tokens, as upstream has reported them. */
export interface EventUsage {
  readonly input: number
  readonly output: number
  /** Of the input, what upstream had in a cache. */
  readonly cached?: number
  /** Of the output, what the model has only thought. */
  readonly reasoning?: number
}

/** What is known of a request, as far as its base knows it. */
interface AskedDetails {
  /** What kind of work: `chat`, `embeddings`, `image`, `speech` and so on. */
  readonly operation?: string
  /** The model that was asked for. */
  readonly model?: string
  /** Whether a stream was asked for. */
  readonly stream?: boolean
  readonly tenant?: string
}

/** What is known of an answer, as far as its base knows it. */
interface AnsweredDetails {
  /** The model that has answered. */
  readonly responseModel?: string
  /** Upstream's id of the answer. */
  readonly responseId?: string
  /** Why the model has stopped; of several choices, the first. */
  readonly finishReason?: string
  readonly usage?: EventUsage
  /** What that costs, by the trait or option `price`. */
  readonly cost?: number
}

/** What each type of event holds beside its call, its stack and its time. */
export interface StackEventDetails {
  /**
   * A call begins. `parent` is the call that asked, when a stack is the base of another, and
   * `attempt` the attempt in which it did.
   */
  'call:start': AskedDetails & { readonly parent?: string; readonly attempt?: number }
  /** A call has waited for its turn or a connection, whether or not it came. */
  queued: { readonly layer: string; readonly waitedMs: number }
  /** What the cache had. */
  cache: { readonly layer: string; readonly status: 'hit' | 'stale' | 'miss' }
  /** The call shares the work of another, which goes on under that one's id. */
  joined: { readonly layer: string; readonly work?: string }
  /** The base is called. Attempts count from 1; `member` is the pool's choice. */
  'attempt:start': { readonly attempt: number; readonly member?: number }
  /**
   * The base's answer has ended, of a stream the last chunk. Work that ignores its abort ends after
   * its call. Usage and cost stand here once for all who share the answer.
   */
  'attempt:end': AskedDetails &
    AnsweredDetails & {
      readonly attempt: number
      readonly member?: number
      readonly outcome: EventOutcome
      readonly code?: EventCode
      /** The status that upstream answered with. */
      readonly status?: number
      /** From the attempt's start to its stream's first token. */
      readonly firstTokenMs?: number
      readonly durationMs: number
      /** It was the call of another stack, whose own attempts hold the usage. */
      readonly nested?: true
    }
  /** The call waits and then repeats the attempt that failed. */
  retry: {
    readonly layer: string
    readonly attempt: number
    readonly delayMs: number
    readonly code: EventCode
  }
  /**
   * The call goes on to another candidate: its place in the list, and why the one before did not
   * answer. Without `code` that one was passed over, or its answer was refused.
   */
  fallback: {
    readonly layer: string
    readonly candidate: number
    readonly model?: string
    readonly code?: EventCode
  }
  /**
   * A call had not been answered after `delayMs`, and it is decided whether the second try has `won`,
   * has `lost`, or was `refused` before it ran. `model` is the one that it asked for.
   */
  hedge: {
    readonly layer: string
    readonly outcome: 'won' | 'lost' | 'refused'
    readonly delayMs: number
    readonly model?: string
  }
  /**
   * A breaker has changed, by the verdict on this call. `elsewhere`: by a verdict in another process,
   * and this call is the first to meet it.
   */
  breaker: {
    readonly layer: string
    readonly state: 'closed' | 'open' | 'half-open'
    readonly elsewhere?: true
  }
  /**
   * This call has brought what a `rateLimit()` may cost to four fifths of it; once a window for each
   * of its keys.
   */
  budget: {
    readonly layer: string
    readonly tenant?: string
    readonly spent: number
    readonly limit: number
  }
  /**
   * The other processes could not be asked in time, so the layer has decided as if there were none.
   */
  alone: { readonly layer: string }
  /** A limit has cut the call; without `layer` it was the call's own `timeoutMs` or `deadline`. */
  timeout: { readonly layer?: string; readonly phase: TimeoutPhase; readonly limitMs: number }
  /** A stream's first token (its commit): the stream is handed out. */
  'first-token': { readonly afterMs: number }
  /**
   * The call is over, of a stream after its last chunk. Usage and cost are the sum of its attempts
   * so far: none for a hit, and for a call that joined another.
   */
  'call:end': AskedDetails &
    AnsweredDetails & {
      readonly outcome: EventOutcome
      readonly code?: EventCode
      /** The layer that refused or cut it. */
      readonly layer?: string
      readonly durationMs: number
      /** Of it, spent waiting for a turn or a connection. */
      readonly queuedMs: number
      readonly firstTokenMs?: number
      /** How often the base was called: 0 for a hit, and for a call that joined another. */
      readonly attempts: number
      /** Events that the timeline had no room for. */
      readonly omitted?: number
    }
}

/** The kinds of events, which are the keys of `StackEventDetails`. */
export type StackEventType = keyof StackEventDetails

/**
 * What happens to a call. It holds names, numbers and codes: never a prompt, a key, a body, or a
 * message that could quote one. Names of models and tenants are cut at 128 characters. Times are on
 * the `performance.now()` clock, durations in milliseconds.
 */
export type StackEvent = {
  [Type in StackEventType]: {
    readonly type: Type
    /**
     * Identifies the call, among all processes. What a call leaves behind (shared work, a breaker's
     * timer) may name it after its end.
     */
    readonly call: string
    /** Name of the base: the function's, or `blossom` for the client. */
    readonly stack: string
    readonly at: number
  } & StackEventDetails[Type]
}[StackEventType]

/** One line of a call's timeline: an event, and how long after the call's start it came. */
export type TimelineEntry = {
  [Type in StackEventType]: {
    readonly type: Type
    readonly afterMs: number
  } & StackEventDetails[Type]
}[StackEventType]

/**
 * What `blossom-stack:call`'s tracing channels carry: one object for each call, from its start to
 * its end.
 */
export interface CallMessage {
  readonly call: string
  readonly stack: string
  readonly parent?: string | undefined
  /** From the end on. */
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
 * Whole calls, for tools that carry their context along with the work: `start` runs the call in the
 * stores bound to it (`bindStore`), `end` follows when the call has been begun, `asyncStart` when
 * its answer is handed out, `asyncEnd` when that has ended, `error` before it if it failed.
 */
export const callTracing = tracingChannel<unknown, CallMessage>('blossom-stack:call')
const { start, end, asyncStart, asyncEnd, error } = callTracing

/**
 * Whether anybody listens. AskedDetails once for each call, and written out, as V8 then folds all of it
 * into nothing until somebody does.
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

/** What `onEvent()` calls. What it throws is a warning and changes nothing. */
export type EventListener = (event: StackEvent) => void

/**
 * Calls `listener` with every event of every stack in this process, in the order in which they
 * happen, as they happen. Returns a function that stops this.
 *
 * Events are published on `node:diagnostics_channel` channels named `blossom-stack:` and the
 * event's type, such as `blossom-stack:retry`. Whole calls are published on the tracing channel
 * `blossom-stack:call` as well. You may also subscribe to a channel yourself, but if that listener
 * throws, Node ends the process. A listener that throws here causes a warning and nothing else.
 * Calls that began before `onEvent()` are left out.
 *
 * @throws ConfigError when the listener is no function
 * @example const stop = onEvent((event) => { if (event.type === 'retry') log.info(event) })
 * @see https://nodejs.org/api/diagnostics_channel.html
 */
export function onEvent(listener: EventListener): () => void {
  if (typeof listener !== 'function')
    throw new ConfigError('onEvent: the listener must be a function of one argument, the event.')
  const guarded = (event: unknown) => runHook('onEvent()', () => listener(event as StackEvent))
  for (const { name } of Object.values(channels)) subscribe(name, guarded)
  return () => {
    for (const { name } of Object.values(channels)) unsubscribe(name, guarded)
  }
}
