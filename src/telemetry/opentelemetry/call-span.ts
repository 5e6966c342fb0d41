import type { Context, Span } from '@opentelemetry/api'
import { now, wallTime } from '../../core/index.js'
import type { AskedAttributes, Server } from './attributes.js'

/** A span, and the context in which it is active. */
export interface Running {
  readonly span: Span
  readonly context: Context
  /** Time of the last chunk of its stream. */
  lastChunkAt?: number
}

/**
 * The offset from the clock of events to wall time. It is read once per call, including nested
 * calls, so that durations are exact: the wall clock may jump, and the two clocks drift apart over
 * weeks.
 */
export const offsetNow = (): number => wallTime() - now()

/** The spans of one call. */
export class CallSpan implements Running {
  readonly span: Span
  readonly context: Context
  readonly asked: AskedAttributes
  /** Whether the call belongs to another traced call. */
  readonly isPart: boolean
  readonly attempts = new Map<number, Running>()
  /** The server of its last attempt. */
  server: Server | undefined
  /** The text of the answer, if content is captured. */
  text = ''
  hasEnded = false

  readonly #offset: number

  constructor(
    span: Span,
    context: Context,
    asked: AskedAttributes,
    { isPart, offset }: { isPart: boolean; offset: number },
  ) {
    this.span = span
    this.context = context
    this.asked = asked
    this.isPart = isPart
    this.#offset = offset
  }

  get offset(): number {
    return this.#offset
  }

  /** Converts the time of an event to wall time. */
  time(at: number): number {
    return at + this.#offset
  }

  at(attempt: number): Running | undefined {
    return attempt === 0 ? this : this.attempts.get(attempt)
  }
}
