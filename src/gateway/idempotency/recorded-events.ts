import type { Reader, StreamEnd } from '../../core/index.js'
import type { EventDelivery, EventText } from '../server/written-events.js'

/** Events on their way to a client, whose text is remembered. */
export class RecordedEvents implements EventText {
  readonly #events: EventText
  #text = ''

  /** @param done called once, with the text of a stream that has ended whole */
  constructor(events: EventText, done: (text: string | undefined) => void) {
    this.#events = events
    // The end comes with the last text, which is not added yet.
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
