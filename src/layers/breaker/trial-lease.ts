import { now, type SharedCircuit } from '../../core/index.js'

/** A circuit's trial, which one of several processes has at a time. */
export class TrialLease {
  readonly #shared: SharedCircuit
  /** Until when this process has it. */
  #heldUntil = 0
  #asking: Promise<number | null> | undefined

  constructor(shared: SharedCircuit) {
    this.#shared = shared
  }

  get isHeld(): boolean {
    return now() < this.#heldUntil
  }

  /**
   * Claims the trial for `ms`. Concurrent calls share one request. Resolves with 0 when this
   * process has it, otherwise with the milliseconds to wait, or null when the shared state could
   * not be reached.
   */
  ask(ms: number): Promise<number | null> {
    this.#asking ??= this.#claim(ms)
    return this.#asking
  }

  async #claim(ms: number): Promise<number | null> {
    const until = now() + ms
    const waitMs = await this.#shared.claim(ms)
    this.#asking = undefined
    if (waitMs === 0) this.#heldUntil = until
    return waitMs
  }

  /** Releases the trial, if held. */
  release(): void {
    if (this.isHeld) this.#shared.release()
    this.#heldUntil = 0
  }

  /** Marks the trial as released. The other processes already know. */
  forget(): void {
    this.#heldUntil = 0
  }
}
