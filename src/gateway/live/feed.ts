import type { StreamEnd } from '../../core/index.js'
import type { EventDelivery, EventText } from '../server/written-events.js'
import { WrittenEvents } from '../server/written-events.js'

/** The event stream of one page. It sends the newest snapshot as soon as the page can receive it. */
export class Feed extends WrittenEvents implements EventText {
  readonly #left: (feed: Feed) => void
  #text = ''

  constructor(delivery: EventDelivery, left: (feed: Feed) => void) {
    super(delivery)
    this.#left = left
  }

  take(): string {
    const text = this.#text
    this.#text = ''
    return text
  }

  leave(): void {
    this.finish({ outcome: 'left' })
  }

  /** Sends a snapshot. It replaces one that has not been sent yet. */
  show(text: string): void {
    this.#text = text
    this.writer?.readable()
  }

  /** Ends the feed because the server closes. */
  close(): void {
    this.finish({ outcome: 'complete' })
    this.writer?.readable()
  }

  protected override finish(end: StreamEnd): void {
    if (this.isOver) return
    super.finish(end)
    this.#left(this)
  }
}
