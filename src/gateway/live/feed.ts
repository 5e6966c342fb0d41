import type { StreamEnd } from '../../core/index.js'
import type { EventDelivery, EventText } from '../server/written-events.js'
import { WrittenEvents } from '../server/written-events.js'

/** One page's feed: the newest snapshot, as soon as the page can take it. */
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

  /** What has not been taken is out of date. */
  show(text: string): void {
    this.#text = text
    this.writer?.readable()
  }

  /** The server closes. */
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
