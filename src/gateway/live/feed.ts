import type { Reader, StreamEnd } from '../../core/index.js'
import { Ending } from '../server/ending.js'
import type { EventDelivery, EventText } from '../server/event-body.js'

/** One page's feed: the newest snapshot, as soon as the page can take it. */
export class Feed implements EventText {
  readonly delivery: EventDelivery
  readonly #left: (feed: Feed) => void
  readonly #ending = new Ending()
  #writer: Reader | undefined
  #text = ''

  constructor(delivery: EventDelivery, left: (feed: Feed) => void) {
    this.delivery = delivery
    this.#left = left
  }

  get isOver(): boolean {
    return this.#ending.end !== undefined
  }

  attach(writer: Reader): void {
    this.#writer = writer
  }

  onEnd(listener: (end: StreamEnd) => void): void {
    this.#ending.onEnd(listener)
  }

  take(): string {
    const text = this.#text
    this.#text = ''
    return text
  }

  leave(): void {
    this.#finish({ outcome: 'left' })
  }

  /** What has not been taken is out of date. */
  show(text: string): void {
    this.#text = text
    this.#writer?.readable()
  }

  /** The server closes. */
  end(): void {
    this.#finish({ outcome: 'complete' })
    this.#writer?.readable()
  }

  #finish(end: StreamEnd): void {
    if (this.isOver) return
    this.#ending.finish(end)
    this.#left(this)
  }
}
