import type { Reader, StreamEnd } from '../../core/index.js'
import type { EventDelivery, EventText } from '../server/written-events.js'

/** Passes events to a client and records their text. */
export class RecordedEvents implements EventText {
  readonly #events: EventText
  #text = ''

  /**
   * @param done called once, with the text if the stream is complete, otherwise with `undefined`
   */
  constructor(events: EventText, done: (text: string | undefined) => void) {
    this.#events = events
    // Wait a microtask: the end is reported before `take()` has added the last text.
    events.onEnd(({ outcome }) =>
      queueMicrotask(() => done(outcome === 'complete' ? this.#text : undefined)),
    )
  }

  get delivery(): EventDelivery {
    return this.#events.delivery
  }

  get isOver(): boolean {
    return this.#events.isOver
  }

  attach(writer: Reader): void {
    this.#events.attach(writer)
  }

  onEnd(listener: (end: StreamEnd) => void): void {
    this.#events.onEnd(listener)
  }

  take(): string {
    const text = this.#events.take()
    this.#text += text
    return text
  }

  leave(): void {
    this.#events.leave()
  }

  failureText(error: unknown): string {
    return this.#events.failureText?.(error) ?? ''
  }
}
