import type { LimitUnit } from './errors.js'
import type { Attempt } from './events/attempt.js'
import type { Trace } from './events/trace.js'
import type { Cancel } from './time/cancel.js'
import type { BaseFacts } from './traits.js'

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
  /** Notes of its own, for one of several tries of a call; see `forkNotes()` and `takeNotes()`. */
  meta?: Map<string, unknown> | undefined
  cancel?: Cancel | undefined
  /** Only ever tightens. */
  deadline?: number | undefined
  priority?: number | undefined
  transport?: Transport | undefined
  /** Whether it is run only if that is possible at once. */
  optional?: boolean | undefined
  /** Members of a pool that it must not go to. */
  elsewhere?: readonly number[] | undefined
  retryBudget?: RetryAllowance | undefined
  /** @internal */
  via?: string | undefined
  /** @internal */
  attempt?: Attempt | undefined
  /** Whether a layer finds by itself how many calls may be in progress. */
  adapts?: boolean | undefined
}

/** The repeats that all calls of a `retry()` may make together. */
export interface RetryAllowance {
  /** Takes one, if there is one. */
  take(): boolean
  /** Gives one back that was not made. */
  giveBack(): void
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

/**
 * Key in a call's notes: who answered, as `AnsweredBy`. `fallback` and `hedge` note the model, a
 * `pool` of several members the member; `hedge` and the gateway read it.
 */
export const ANSWERED_BY = 'answeredBy'

/**
 * Key in a call's notes: that upstream allows nothing more for a while, as `UpstreamPause`. The base
 * notes it, the innermost `rateLimit` takes it away and keeps it.
 */
export const UPSTREAM_PAUSE = 'upstreamPause'

/**
 * Key in a call's notes: the id of the call in its events, and the trace of a tracer that it belongs
 * to, as `TelemetryNote`. The core notes it while somebody listens, the gateway reads it.
 */
export const TELEMETRY = 'telemetry'

/** Where a call is found among events, and among the traces of a tracer. */
export interface TelemetryNote {
  readonly call: string
  readonly traceId?: string | undefined
}

/** Upstream has reported that one of its limits is used up. */
export interface UpstreamPause {
  /** When it allows something again: a moment on the `performance.now()` clock. */
  readonly until: number
  /** What it counts, when that is known. */
  readonly unit?: LimitUnit | undefined
}

/** Who answered a call that more than one could have answered. */
export interface AnsweredBy {
  readonly model?: string | undefined
  /** Of a pool, by its place. */
  readonly member?: number | undefined
}

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
  /** The same notes, to look at; undefined while there are none. */
  readonly notes: ReadonlyMap<string, unknown> | undefined
  /**
   * How often the base has been called so far: when it has not been since a layer handed the call
   * on, nothing was spent inside.
   */
  readonly attempts: number
  /** The base's traits. */
  readonly base: BaseFacts
  readonly priority: number
  readonly tenant: string | undefined
  readonly cache: CacheMode
  readonly transport: Transport | undefined
  /**
   * Whether it is run only if that is possible at once: a layer that would have it wait refuses it.
   * A second try beside a slow first one is such a call.
   */
  readonly optional: boolean
  /** Members of a pool that it must not go to; a pool without another refuses it. */
  readonly elsewhere: readonly number[]
  /** What a `retry()` further out still allows; undefined without one. */
  readonly retryBudget: RetryAllowance | undefined
  /**
   * Which layers have handed the call from one stack on to another, as a list of their ids: two
   * stacks that stand in for each other must not do so in a circle. @internal
   */
  readonly via: string
  /**
   * Whether a layer further out finds by itself how many calls may be in progress: after a pause
   * that upstream has asked for, the layers inside need not be careful then.
   */
  readonly adapts: boolean
  /**
   * How long the call has waited for its turns and at limits so far: what it takes beside that is
   * upstream's time. Milliseconds.
   */
  readonly waitedMs: number
  /** Adds a wait to that. */
  addWait(ms: number): void
  /** Publishes what happens to the call; undefined while nobody listens. @internal */
  readonly trace: Trace | undefined
  /** The call of the base that this is for; undefined while nobody listens. @internal */
  readonly attempt: Attempt | undefined
  /** The base is called. @internal */
  countAttempt(): void
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

/** A caller's place in work that several share. One call may have several places. */
export interface Place {
  /** The caller's: the work goes by the latest of the deadlines. */
  readonly context: Pick<Context, 'deadline'>
}

/** Work that several callers share. It is aborted when the last caller who joined has left. */
export interface SharedWork {
  readonly context: Context
  /** How many callers are still there. */
  readonly callers: number
  /**
   * Counts a caller in, until it leaves. The work's deadline is the latest among the callers still
   * there.
   */
  join(place: Place): void
  /** The caller has gone; the last one's `reason` aborts the work. */
  leave(place: Place, reason?: unknown): void
  /** Copies the notes made so far to a caller. */
  tell(caller: Context): void
  /** The work is over: from now on nobody's leaving aborts it. */
  end(): void
}
