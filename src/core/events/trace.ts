import { AsyncResource } from 'node:async_hooks'
import type { TimeoutPhase } from '../errors.js'
import { now } from '../time/clock.js'
import type { BaseFacts } from '../traits.js'
import { runHook } from '../warn.js'
import { type RequestInfo, requestInfoOf } from './asked.js'
import { Attempt, type AttemptEnd, type AttemptOwner, addUsage, noAnswerYet } from './attempt.js'
import { carried, carriers } from './carriers.js'
import {
  type CallMessage,
  callTracing,
  channels,
  type EventListener,
  type StackEvent,
  type StackEventDetails,
  type StackEventType,
} from './index.js'
import { type Cancelled, codeOf, type EndOf, outcomeOf } from './outcome.js'

const NOTES: unique symbol = Symbol.for('blossom-stack.notes') as never

/** A `meta` map that this library made itself, which needs no timeline. */
export class Notes extends Map<string, unknown> {
  get [NOTES](): true {
    return true
  }
}

/** Whether a map was made by this library, in this copy or another. */
export const isNotes = (map: object): boolean => NOTES in map

/** Key of the timeline in a call's notes. */
const TIMELINE = 'timeline'
/** Maximum length of a timeline. The last entry is reserved for the end. */
const LONGEST_TIMELINE = 200

let prefix = ''
let count = 0

function nextId(): string {
  // A random prefix, because other processes and other copies of the library count as well.
  prefix ||= Math.random().toString(36).slice(2, 10)
  return `${prefix}-${++count}`
}

const round = (ms: number): number => Math.round(ms * 1_000) / 1_000

export interface TraceOptions {
  readonly base: BaseFacts
  readonly request: unknown
  readonly tenant: string | undefined
  readonly onEvent: EventListener | undefined
  readonly parent: Trace | undefined
  /** The attempt of `parent` that the call is made in. */
  readonly attempt: Attempt | undefined
  /** The caller's map, which receives the timeline. */
  readonly meta: Map<string, unknown> | undefined
}

/**
 * Publishes what happens to one call. Exists only while somebody listens or the caller wants the
 * timeline.
 */
export class Trace implements AttemptOwner {
  readonly id = nextId()
  readonly startedAt = now()
  readonly base: BaseFacts
  readonly tenant: string | undefined
  readonly onEvent: EventListener | undefined
  readonly request: unknown
  readonly asked: RequestInfo
  /** Number of the outer call's attempt that this call is made in. */
  readonly #within: number | undefined
  readonly #message: CallMessage
  readonly #timeline: object[] | undefined
  #omitted = 0
  #attempts = 0
  #queuedMs = 0
  #firstTokenMs: number | undefined
  #handedOut = false
  #isOver = false
  /** Summed up over all attempts: total usage and cost, and details of the last complete answer. */
  readonly #answered = noAnswerYet()
  /**
   * The async context of this call. Later events come from timers and from the ends of other calls,
   * but are published in this context.
   */
  #context: AsyncResource | undefined

  constructor({ base, request, tenant, onEvent, parent, attempt, meta }: TraceOptions) {
    this.base = base
    this.tenant = tenant
    this.onEvent = onEvent
    this.request = request
    this.asked = requestInfoOf(base, request, tenant)
    this.#within = attempt?.number
    if (attempt !== undefined) attempt.isNested = true
    const { name: stack } = base
    this.#message =
      parent === undefined ? { call: this.id, stack } : { call: this.id, stack, parent: parent.id }
    if (meta !== undefined) {
      const timeline: object[] = []
      this.#timeline = timeline
      runHook('meta.set()', () => meta.set(TIMELINE, timeline))
    }
  }

  /**
   * Publishes the call's start. The constructor does not do it because a listener may abort the
   * call immediately, and that abort must be published too.
   */
  begin(): void {
    const { parent } = this.#message
    this.#emit('call:start', { parent, attempt: this.#within, ...this.asked }, this.startedAt)
    for (const carrier of carriers)
      runHook('A tracing hook', () => carrier.asked(this.id, this.request))
  }

  /** The id of the call's trace in a tracer. */
  get traceId(): string | undefined {
    let id: string | undefined
    for (const carrier of carriers)
      runHook('A tracing hook', () => {
        id ??= carrier.traceIdOf(this.id)
      })
    return id
  }

  /** Starts the call's work, in the stores that are bound to the tracing channel. */
  run<T>(work: () => T): T {
    try {
      const begin = () => {
        this.#context = new AsyncResource('blossom-stack.call')
        return work()
      }
      return callTracing.start.runStores(this.#message, () =>
        carriers.size === 0 ? begin() : carried(this.id, 0, begin),
      )
    } finally {
      callTracing.end.publish(this.#message)
    }
  }

  queued(layer: string, waitedMs: number): void {
    this.#queuedMs += waitedMs
    this.#emit('queued', { layer, waitedMs })
  }

  cache(layer: string, status: StackEventDetails['cache']['status']): void {
    this.#emit('cache', { layer, status })
  }

  joined(layer: string, work: Trace | undefined): void {
    this.#emit('joined', { layer, work: work?.id })
  }

  retry(layer: string, attempt: number, delayMs: number, error: unknown): void {
    this.#emit('retry', { layer, attempt, delayMs, code: codeOf(error) })
  }

  /** `error` is undefined when the previous candidate did not fail. */
  fallback(layer: string, candidate: number, model: string | undefined, error: unknown): void {
    const code = error === undefined ? undefined : codeOf(error)
    this.#emit('fallback', { layer, candidate, model, code })
  }

  hedge(
    layer: string,
    outcome: StackEventDetails['hedge']['outcome'],
    delayMs: number,
    model: string | undefined,
  ): void {
    this.#emit('hedge', { layer, outcome, delayMs, model })
  }

  alone(layer: string): void {
    this.#emit('alone', { layer })
  }

  /** `elsewhere`: another process changed the state. */
  breaker(layer: string, state: StackEventDetails['breaker']['state'], elsewhere?: true): void {
    this.#emit('breaker', { layer, state, elsewhere })
  }

  budget(layer: string, tenant: string | undefined, spent: number, limit: number): void {
    this.#emit('budget', { layer, tenant, spent, limit })
  }

  timeout(layer: string | undefined, phase: TimeoutPhase, limitMs: number): void {
    this.#emit('timeout', { layer, phase, limitMs })
  }

  /** Starts an attempt. */
  attempt(request: unknown, member: number | undefined): Attempt {
    const attempt = new Attempt(this, request, ++this.#attempts, member)
    this.#emit('attempt:start', { attempt: attempt.number, member })
    return attempt
  }

  attemptEnded(end: AttemptEnd): void {
    const all = this.#answered
    all.usage = addUsage(all.usage, end.usage)
    if (end.cost !== undefined) all.cost = (all.cost ?? 0) + end.cost
    if (end.outcome === 'complete') {
      all.responseModel = end.responseModel
      all.responseId = end.responseId
      all.finishReason = end.finishReason
    }
    this.#emit('attempt:end', end)
  }

  /** The answer is handed out. `hasToken` is true for a stream that has its first token. */
  handOut(hasToken: boolean): void {
    this.#handedOut = true
    if (hasToken) {
      const afterMs = now() - this.startedAt
      this.#firstTokenMs = afterMs
      this.#emit('first-token', { afterMs })
    }
    this.#inContext(() => callTracing.asyncStart.publish(this.#message))
  }

  /**
   * Ends the call. Only the first end counts: the work of an aborted call may still finish later.
   */
  end(ended: EndOf, cancel: Cancelled): void {
    if (this.#isOver) return
    this.#isOver = true
    const { outcome, code, layer } = outcomeOf(ended, cancel)
    const message = this.#message
    message.outcome = outcome
    message.code = code
    this.#emit('call:end', {
      outcome,
      code,
      layer,
      ...this.asked,
      stream: this.asked.stream ?? (this.#firstTokenMs === undefined ? undefined : true),
      ...this.#answered,
      durationMs: now() - this.startedAt,
      queuedMs: this.#queuedMs,
      firstTokenMs: this.#firstTokenMs,
      attempts: this.#attempts,
      omitted: this.#omitted || undefined,
    })
    this.#inContext(() => {
      if (!this.#handedOut) callTracing.asyncStart.publish(message)
      if (outcome === 'failed') callTracing.error.publish(message)
      callTracing.asyncEnd.publish(message)
    })
  }

  #emit<Type extends StackEventType>(
    type: Type,
    details: Loose<StackEventDetails[Type]>,
    at = now(),
  ): void {
    if (this.#timeline !== undefined) {
      if (this.#timeline.length < LONGEST_TIMELINE - 1 || type === 'call:end') {
        this.#timeline.push(tidy({ type, afterMs: round(at - this.startedAt) }, details))
      } else this.#omitted++
    }
    const channel = channels[type]
    const { onEvent } = this
    if (!channel.hasSubscribers && onEvent === undefined) return
    const event = Object.freeze(
      tidy({ type, call: this.id, stack: this.base.name, at: round(at) }, details),
    ) as unknown as StackEvent
    this.#inContext(() => {
      channel.publish(event)
      if (onEvent !== undefined) runHook('onEvent()', () => onEvent(event))
    })
  }

  #inContext(publish: () => void): void {
    if (this.#context === undefined) publish()
    else this.#context.runInAsyncScope(publish)
  }
}

type Loose<Details> = { [Name in keyof Details]: Details[Name] | undefined }

/** Merges both objects. Undefined values are left out, so that the event reads well as JSON. */
function tidy(head: Record<string, unknown>, details: object): Record<string, unknown> {
  // `for in` is several times as fast as a list of the names.
  for (const name in details) {
    const value = (details as Record<string, unknown>)[name]
    if (value === undefined) continue
    // Not rounded: a cost may be far below a thousandth.
    head[name] = typeof value === 'number' && name !== 'cost' ? round(value) : value
  }
  return head
}
