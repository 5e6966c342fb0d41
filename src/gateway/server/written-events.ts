import type { Reader, StreamEnd, TimeoutError } from '../../core/index.js'

/** How events are delivered to a client. */
export interface EventDelivery {
  /** A comment is sent after so long a silence. Milliseconds; 0 for none. */
  readonly heartbeatMs: number
  /** A client that takes longer to read what was sent is cut. Milliseconds. */
  readonly writeTimeoutMs: number
  /** The client did not read in time, and is about to be cut. */
  cut(error: TimeoutError): void
}

/** The events of a stream as text, for the one who writes them to a client. */
export interface EventText {
  readonly delivery: EventDelivery
  /** Whether the last event has been taken. */
  readonly isOver: boolean
  /** Makes `writer` the one who takes the text. */
  attach(writer: Reader): void
  /** Calls `listener` once, when the last event has been taken or the writer has gone. */
  onEnd(listener: (end: StreamEnd) => void): void
  /** All text that is there; empty when there is none: then the writer is notified of the next. */
  take(): string
  /** The writer goes before the end. */
  leave(): void
  /** The last event of a stream that fails so; empty for none. */
  failureText?(error: unknown): string
}

/** Events that are written to one client, and end once. */
export abstract class WrittenEvents {
  readonly delivery: EventDelivery
  /** How they ended; undefined until then. */
  protected end: StreamEnd | undefined
  /** Takes the text. */
  protected writer: Reader | undefined
  readonly #listeners: ((end: StreamEnd) => void)[] = []

  constructor(delivery: EventDelivery) {
    this.delivery = delivery
  }

  get isOver(): boolean {
    return this.end !== undefined
  }

  attach(writer: Reader): void {
    this.writer = writer
  }

  /** Calls `listener` once: now, if they have ended. */
  onEnd(listener: (end: StreamEnd) => void): void {
    if (this.end !== undefined) listener(this.end)
    else this.#listeners.push(listener)
  }

  protected finish(end: StreamEnd): void {
    this.end = end
    for (const listener of this.#listeners.splice(0)) listener(end)
  }
}
