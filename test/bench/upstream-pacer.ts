/** Sends the next piece of its stream; returns whether there is more. */
type Send = () => boolean

/**
 * Streams that send a piece every `paceMs`, spread evenly over that time. An interval for each
 * stream would not stay spread: those that a late event loop fires together stay together.
 */
export class Pacer {
  readonly #slots: Set<Send>[]
  #next = 0
  #streams = 0
  #ticks = 0
  #startedAt = 0
  #timer: NodeJS.Timeout | undefined

  constructor(paceMs: number) {
    this.#slots = Array.from({ length: paceMs }, () => new Set())
  }

  add(send: Send): void {
    this.#slots[this.#next++ % this.#slots.length]?.add(send)
    this.#streams++
    if (this.#timer !== undefined) return
    this.#ticks = 0
    this.#startedAt = performance.now()
    this.#timer = setInterval(() => this.#catchUp(), 1)
  }

  /** Serves a slot for each millisecond that has passed. */
  #catchUp(): void {
    for (const due = performance.now() - this.#startedAt; this.#ticks < due; this.#ticks++) {
      const slot = this.#slots[this.#ticks % this.#slots.length]
      for (const send of slot ?? []) {
        if (send()) continue
        slot?.delete(send)
        this.#streams--
      }
    }
    if (this.#streams > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
