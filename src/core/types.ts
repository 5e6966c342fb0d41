import type { LimitUnit } from './errors.js'
import type { Attempt } from './events/attempt.js'
import type { Trace } from './events/trace.js'
import type { Cancel } from './time/cancel.js'
import type { BaseFacts } from './traits.js'

/** A value, or a promise of one. */
export type MaybePromise<T> = T | Promise<T>

/**
 * Takes a request and returns an answer: a value, or an `AsyncIterable` (a stream). It may return a
 * plain value instead of a promise, so `await` the result.
 */
export type Handler<Request = unknown, Answer = unknown> = (
  request: Request,
  context: Context,
) => MaybePromise<Answer>

/**
 * How caches and shared calls treat a call. `reload` reads nothing stored, but stores the answer.
 * `no-store` bypasses `cache` and `dedupe`.
 */
export type CacheMode = 'default' | 'reload' | 'no-store'

/** Options that a call takes in addition to its request. */
export interface CallOptions {
  /** Aborts the call, which then rejects with `signal.reason`. */
  signal?: AbortSignal | undefined
  /**
   * Time limit for the whole answer, in milliseconds. It can only shorten the limits set by layers.
   */
  timeoutMs?: number | undefined
  /**
   * Time limit as a point on the `performance.now()` clock. It can only shorten the limits set by
   * layers.
   */
  deadline?: number | undefined
  /** Calls with a higher priority go first where calls wait. @default 0 */
  priority?: number | undefined
  /** The tenant that the call is made for. Answers are never shared between tenants. */
  tenant?: string | undefined
  /**
   * Whether stored answers, and answers in progress for other calls, may be used for this call.
   * @default 'default'
   */
  cache?: CacheMode | undefined
  /**
   * A map that receives the layers' notes (attempts, hit or miss, time queued), each under its
   * layer's name.
   */
  meta?: Map<string, unknown> | undefined
}

/**
 * How the base should reach its upstream. Set by an outer layer (`pool`); the core only passes it
 * on.
 */
export interface Transport {
  readonly baseURL?: string | undefined
  readonly apiKey?: string | undefined
  /** Index of the pool member that was chosen. */
  readonly member?: number | undefined
  /** How many connections the member may have. */
  readonly connections?: number | undefined
}

/** What a layer may change for the layers inside it. */
export interface ContextPatch {
  /**
   * A separate map of notes, for one of several tries of a call; see `forkNotes()` and
   * `takeNotes()`.
   */
  meta?: Map<string, unknown> | undefined
  cancel?: Cancel | undefined
  /** Can only shorten the current deadline. */
  deadline?: number | undefined
  priority?: number | undefined
  transport?: Transport | undefined
  /** Whether the call is rejected rather than made to wait. */
  optional?: boolean | undefined
  /** Pool members that the call must not use. */
  elsewhere?: readonly number[] | undefined
  retryBudget?: RetryAllowance | undefined
  /** @internal */
  via?: string | undefined
  /** @internal */
  attempt?: Attempt | undefined
  /** Whether this layer adapts how many calls may be in progress. */
  adapts?: boolean | undefined
}

/** The retries that all calls of a `retry()` may make together. */
export interface RetryAllowance {
  /** Takes one. Returns false when none is left. */
  take(): boolean
  /** Returns one that was not used. */
  giveBack(): void
}

/**
 * Key in a call's notes: whether another attempt would go to another member, so that a requested
 * wait does not apply to it. Written by `pool`, read by `retry`; the two know nothing else about
 * each other.
 */
export const ELSEWHERE = 'elsewhere'

/**
 * Key in a call's notes: the share of its normal lifetime, from 0 to 1, for which an outer cache
 * keeps the answer. Default 1. Written by `retry`, read by `cache`.
 */
export const KEEP = 'keep'

/**
 * Key in a call's notes: who answered, as `AnsweredBy`. `fallback` and `hedge` write the model, a
 * `pool` of several members writes the member. Read by `hedge` and the gateway.
 */
export const ANSWERED_BY = 'answeredBy'

/**
 * Key in a call's notes: upstream accepts no more calls for a while, as `UpstreamPause`. Written by
 * the base. The innermost `rateLimit` removes it and observes the pause.
 */
export const UPSTREAM_PAUSE = 'upstreamPause'

/**
 * Key in a call's notes: the call's id in its events and its trace id, as `TelemetryNote`. Written
 * by the core while somebody listens, read by the gateway.
 */
export const TELEMETRY = 'telemetry'

/** Identifies a call in events and in a tracer. */
export interface TelemetryNote {
  readonly call: string
  readonly traceId?: string | undefined
}

/** Upstream has reported that one of its limits is used up. */
export interface UpstreamPause {
  /** When it accepts calls again: a point on the `performance.now()` clock. */
  readonly until: number
  /** What the limit counts, if known. */
  readonly unit?: LimitUnit | undefined
}

/** Who answered a call that several could have answered. */
export interface AnsweredBy {
  readonly model?: string | undefined
  /** Index of the pool member. */
  readonly member?: number | undefined
}

/** The context of a call, which each layer passes inward. It is derived, never changed. */
export interface Context {
  /**
   * The call's cancellation as an `AbortSignal`. Created on first access, so read it only to pass
   * it on.
   */
  readonly signal: AbortSignal
  /** The call's cancellation in its light form. */
  readonly cancel: Cancel
  /** Aborted when the stack starts to close. Calls that only wait should then end. */
  readonly closing: Cancel
  /**
   * When the answer must be complete: a point on the `performance.now()` clock, or `Infinity`
   * without a deadline.
   */
  readonly deadline: number
  /** Notes for the caller, under the layers' names. One map per call. */
  readonly meta: Map<string, unknown>
  /** The same notes, read-only; undefined while there are none. */
  readonly notes: ReadonlyMap<string, unknown> | undefined
  /**
   * How often the base has been called so far. If the number is the same before and after a layer
   * passes the call inward, the call cost nothing.
   */
  readonly attempts: number
  /** The base's traits. */
  readonly base: BaseFacts
  readonly priority: number
  readonly tenant: string | undefined
  readonly cache: CacheMode
  readonly transport: Transport | undefined
  /**
   * Whether the call is rejected rather than made to wait. True, for example, for the second try of
   * `hedge`.
   */
  readonly optional: boolean
  /** Pool members that the call must not use. A pool with no other member rejects the call. */
  readonly elsewhere: readonly number[]
  /** What an outer `retry()` still allows; undefined without one. */
  readonly retryBudget: RetryAllowance | undefined
  /**
   * Ids of the layers that passed the call from one stack to another, to prevent cycles between
   * stacks that stand in for each other. @internal
   */
  readonly via: string
  /**
   * Whether an outer layer adapts how many calls may be in progress. Inner layers then need not
   * slow down after a pause that upstream asked for.
   */
  readonly adapts: boolean
  /**
   * How long the call has waited so far for turns and limits. The rest of its time is upstream's.
   * Milliseconds.
   */
  readonly waitedMs: number
  /** Adds to `waitedMs`. */
  addWait(ms: number): void
  /** Publishes what happens to the call; undefined while nobody listens. @internal */
  readonly trace: Trace | undefined
  /** The attempt that this context belongs to; undefined while nobody listens. @internal */
  readonly attempt: Attempt | undefined
  /** Counts a call of the base. @internal */
  countAttempt(): void
  /**
   * The request's key, from the base's `key` trait. Computed once per call, although several layers
   * ask.
   */
  keyOf(request: unknown, use: 'cache' | 'dedupe'): string | undefined
  /**
   * A context for inner layers, changed by `patch`. (An object spread would create the lazy
   * `signal`.)
   */
  derive(patch: ContextPatch): Context
  /**
   * A context for work that several callers share. It has its own notes and follows no caller's
   * signal; `close()` waits for it.
   */
  detach(): SharedWork
}

/** A caller's place in shared work. One call may have several places. */
export interface Place {
  /** The caller's context. The work runs until the latest of the callers' deadlines. */
  readonly context: Pick<Context, 'deadline'>
}

/** Work that several callers share. It is aborted when the last caller has left. */
export interface SharedWork {
  readonly context: Context
  /** How many callers there are now. */
  readonly callers: number
  /**
   * Adds a caller, until it leaves. The work's deadline is the latest among the current callers.
   */
  join(place: Place): void
  /** Removes a caller. When it is the last one, its `reason` aborts the work. */
  leave(place: Place, reason?: unknown): void
  /** Copies the notes made so far to a caller. */
  tell(caller: Context): void
  /** Ends the work. From now on, a leaving caller no longer aborts it. */
  end(): void
}
