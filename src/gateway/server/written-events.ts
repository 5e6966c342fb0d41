import type { Reader, StreamEnd, TimeoutError } from '../../core/index.js'

/** How events are delivered to a client. */
export interface EventDelivery {
  /** Time without events after which a comment is sent. Milliseconds; 0 for none. */
  readonly heartbeatMs: number
  /** Time after which a client that does not read is disconnected. Milliseconds. */
  readonly writeTimeoutMs: number
  /** Called if the client did not read in time, before it is disconnected. */
  cut(error: TimeoutError): void
}

/** The events of a stream as text, for a writer that sends them to a client. */
export interface EventText {
  readonly delivery: EventDelivery
  /** Whether the last event has been taken. */
  readonly isOver: boolean
  /** Sets the writer, which is notified when there is text. */
  attach(writer: Reader): void
  /** Calls `listener` once, when the last event has been taken or the writer has stopped. */
  onEnd(listener: (end: StreamEnd) => void): void
  /** Returns all text that has arrived. If it is empty, the writer is notified of the next text. */
  take(): string
  /** Called if the writer stops before the end. */
  leave(): void
  /** The event that reports this error at the end of the stream; empty for none. */
  failureText?(error: unknown): string
}

/** Events that are written to one client. They end once. */
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
