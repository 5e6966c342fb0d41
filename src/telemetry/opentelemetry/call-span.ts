import type { Context, Span } from '@opentelemetry/api'
import { now, wallTime } from '../../core/index.js'
import type { AskedAttributes, Server } from './attributes.js'

/** A span, with the context in which it is the active one. */
export interface Running {
  readonly span: Span
  readonly context: Context
  /** When the last chunk of its stream has come. */
  lastChunkAt?: number
}

/**
 * From the events' clock to the time of day. It is read once for a call and what is part of it, so
 * that durations are exact: clocks of the day jump, and over weeks the two drift apart.
 */
export const offsetNow = (): number => wallTime() - now()

/** The spans of one call. */
export class CallSpan implements Running {
  readonly span: Span
  readonly context: Context
  readonly asked: AskedAttributes
  /** Whether it is part of another call that is traced. */
  readonly isPart: boolean
  readonly attempts = new Map<number, Running>()
  /** Where its last attempt went. */
  server: Server | undefined
  /** What has been answered, when it is captured. */
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

  /** The moment of an event as a time of day. */
  time(at: number): number {
    return at + this.#offset
  }

  at(attempt: number): Running | undefined {
    return attempt === 0 ? this : this.attempts.get(attempt)
  }
}
