import type { StreamEnd } from '../../core/index.js'

/** The one end of a stream of events, and who is told of it. */
export class Ending {
  /** How it has ended; undefined until then. */
  end: StreamEnd | undefined
  readonly #listeners: ((end: StreamEnd) => void)[] = []

  /** Calls `listener` once: now, if it has ended. */
  onEnd(listener: (end: StreamEnd) => void): void {
    if (this.end !== undefined) listener(this.end)
    else this.#listeners.push(listener)
  }

  finish(end: StreamEnd): void {
    this.end = end
    for (const listener of this.#listeners.splice(0)) listener(end)
  }
}
