import { AsyncResource } from 'node:async_hooks'
import { isStackError, type TimeoutPhase } from '../errors.js'
import { now } from '../time/clock.js'
import { runHook } from '../warn.js'
import {
  type CallMessage,
  callTracing,
  channels,
  type EventCode,
  type EventListener,
  type EventOutcome,
  type StackEvent,
  type StackEventDetails,
  type StackEventType,
} from './index.js'

const NOTES: unique symbol = Symbol.for('blossom-stack.notes') as never

/** A `meta` of the library's own: nobody has asked for a timeline in it. */
export class Notes extends Map<string, unknown> {
  get [NOTES](): true {
    return true
  }
}

/** Whether a map is the library's own, of this copy or another. */
export const isNotes = (map: object): boolean => NOTES in map

/** Key of the timeline in a call's notes. */
const TIMELINE = 'timeline'
/** Entries of a timeline at most, one of them for the end. */
const LONGEST_TIMELINE = 200

let prefix = ''
let count = 0

function nextId(): string {
  // Other processes, and another copy of the library in this one, count as well.
  prefix ||= Math.random().toString(36).slice(2, 10)
  return `${prefix}-${++count}`
}

const round = (ms: number): number => Math.round(ms * 1_000) / 1_000

/** How an answer ended, as a stream reports it. */
export interface EndOf {
  readonly outcome: 'complete' | 'failed' | 'left'
  readonly error?: unknown
}

interface Cancelled {
  readonly aborted: boolean
  readonly reason: unknown
}

export interface TraceOptions {
  readonly stack: string
  readonly onEvent: EventListener | undefined
  readonly parent: Trace | undefined
  /** The caller's map, to receive the timeline. */
  readonly meta: Map<string, unknown> | undefined
}

/**
 * Publishes what happens to one call. It exists only while somebody listens or has asked for the
 * timeline.
 */
export class Trace {
  readonly id = nextId()
  readonly startedAt = now()
  readonly #stack: string
  readonly onEvent: EventListener | undefined
  readonly #message: CallMessage
  readonly #timeline: object[] | undefined
  #omitted = 0
  #attempts = 0
  #queuedMs = 0
  #firstTokenMs: number | undefined
  #handedOut = false
  #isOver = false
  /**
   * What happens later comes from timers and from the ends of other calls, and is reported in the
   * async context of this one.
   */
  #context: AsyncResource | undefined

  constructor({ stack, onEvent, parent, meta }: TraceOptions) {
    this.#stack = stack
    this.onEvent = onEvent
    this.#message =
      parent === undefined ? { call: this.id, stack } : { call: this.id, stack, parent: parent.id }
    if (meta !== undefined) {
      const timeline: object[] = []
      this.#timeline = timeline
      runHook('meta.set()', () => meta.set(TIMELINE, timeline))
    }
  }

  /**
   * The call begins. Not reported by the constructor: a listener may abort the call at once,
   * which is to be reported as well.
   */
  begin(): void {
    this.#tell('call:start', { parent: this.#message.parent }, this.startedAt)
  }

  /** Begins the call's work, in the stores that are bound to it. */
  run<T>(work: () => T): T {
    try {
      return callTracing.start.runStores(this.#message, () => {
        this.#context = new AsyncResource('blossom-stack.call')
        return work()
      })
    } finally {
      callTracing.end.publish(this.#message)
    }
  }

  queued(layer: string, waitedMs: number): void {
    this.#queuedMs += waitedMs
    this.#tell('queued', { layer, waitedMs })
  }

  cache(layer: string, status: StackEventDetails['cache']['status']): void {
    this.#tell('cache', { layer, status })
  }

  joined(layer: string, work: Trace | undefined): void {
    this.#tell('joined', { layer, work: work?.id })
  }

  retry(layer: string, attempt: number, delayMs: number, error: unknown): void {
    this.#tell('retry', { layer, attempt, delayMs, code: readError(error)?.code ?? 'ERROR' })
  }

  /** `error` is undefined when nobody failed. */
  fallback(layer: string, candidate: number, model: string | undefined, error: unknown): void {
    const code = error === undefined ? undefined : (readError(error)?.code ?? 'ERROR')
    this.#tell('fallback', { layer, candidate, model, code })
  }

  hedge(
    layer: string,
    outcome: StackEventDetails['hedge']['outcome'],
    delayMs: number,
    model: string | undefined,
  ): void {
    this.#tell('hedge', { layer, outcome, delayMs, model })
  }

  alone(layer: string): void {
    this.#tell('alone', { layer })
  }

  /** `elsewhere`: another process has changed it. */
  breaker(layer: string, state: StackEventDetails['breaker']['state'], elsewhere?: true): void {
    this.#tell('breaker', { layer, state, elsewhere })
  }

  budget(layer: string, tenant: string | undefined, spent: number, limit: number): void {
    this.#tell('budget', { layer, tenant, spent, limit })
  }

  timeout(layer: string | undefined, phase: TimeoutPhase, limitMs: number): void {
    this.#tell('timeout', { layer, phase, limitMs })
  }

  /** An attempt begins. Returns what reports its first token and its end. */
  attempt(member: number | undefined): {
    firstToken(): void
    end(end: EndOf, cancel: Cancelled): void
  } {
    const attempt = ++this.#attempts
    const since = now()
    let firstTokenMs: number | undefined
    this.#tell('attempt:start', { attempt, member })
    return {
      firstToken() {
        firstTokenMs = now() - since
      },
      end: (ended, cancel) => {
        const { outcome, code } = outcomeOf(ended, cancel)
        this.#tell('attempt:end', {
          attempt,
          member,
          outcome,
          code,
          firstTokenMs,
          durationMs: now() - since,
        })
      },
    }
  }

  /** The answer is handed out; of a stream, with its first token. */
  handOut(hasToken: boolean): void {
    this.#handedOut = true
    if (hasToken) {
      const afterMs = now() - this.startedAt
      this.#firstTokenMs = afterMs
      this.#tell('first-token', { afterMs })
    }
    this.#inContext(() => callTracing.asyncStart.publish(this.#message))
  }

  /**
   * The call is over. Only the first end counts: a call that was aborted may still come to another.
   */
  end(ended: EndOf, cancel: Cancelled): void {
    if (this.#isOver) return
    this.#isOver = true
    const { outcome, code, layer } = outcomeOf(ended, cancel)
    const message = this.#message
    message.outcome = outcome
    message.code = code
    this.#tell('call:end', {
      outcome,
      code,
      layer,
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

  #tell<Type extends StackEventType>(
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
      tidy({ type, call: this.id, stack: this.#stack, at: round(at) }, details),
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

/** Both as one; what is not known is left out, so that an event reads well as JSON. */
function tidy(head: Record<string, unknown>, details: object): Record<string, unknown> {
  for (const [name, value] of Object.entries(details)) {
    if (value !== undefined) head[name] = typeof value === 'number' ? round(value) : value
  }
  return head
}

/**
 * What a failure comes down to. A time limit or a closing stack aborts as well, but with an
 * error of its own, which work may replace by one that only names an abort.
 */
function outcomeOf(
  { outcome, error }: EndOf,
  { aborted, reason }: Cancelled,
): { outcome: EventOutcome; code?: EventCode; layer?: string } {
  if (outcome !== 'failed') return { outcome }
  const known = readError(error) ?? (aborted ? readError(reason) : undefined)
  if (known !== undefined) return { outcome, ...known }
  return aborted ? { outcome: 'aborted' } : { outcome, code: 'ERROR' }
}

/**
 * What is safe to tell of an error of this library. Any other may be anything, a proxy too, of
 * which any reading may throw.
 */
function readError(error: unknown): { code: EventCode; layer?: string } | undefined {
  try {
    if (!isStackError(error) || !/^[A-Z_]{1,32}$/.test(error.code)) return undefined
    return error.layer === undefined
      ? { code: error.code }
      : { code: error.code, layer: error.layer }
  } catch {
    return undefined
  }
}
