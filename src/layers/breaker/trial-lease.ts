import { now, type SharedCircuit } from '../../core/index.js'

/** The trial of a circuit among several processes: one of them has it at a time. */
export class TrialLease {
  readonly #shared: SharedCircuit
  /** The moment until which it is this process's. */
  #heldUntil = 0
  #asking: Promise<number | null> | undefined

  constructor(shared: SharedCircuit) {
    this.#shared = shared
  }

  get isHeld(): boolean {
    return now() < this.#heldUntil
  }

  /**
   * Asks for it, for so long. Calls that ask at the same time ask once. Resolves with 0 when it is
   * held, else with the milliseconds to wait; null when nobody could be asked.
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

  /** Gives it back, when it is held. */
  release(): void {
    if (this.isHeld) this.#shared.release()
    this.#heldUntil = 0
  }

  /** The others take it as given back. */
  forget(): void {
    this.#heldUntil = 0
  }
}
