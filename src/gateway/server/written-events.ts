import type { Reader, StreamEnd } from '../../core/index.js'
import type { EventDelivery } from './event-body.js'

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
