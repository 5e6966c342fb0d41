/** Which keys an operator has isolated: those named, or all but those named. */
export class Isolation {
  #isOfAll = false
  readonly #exceptions = new Set<string>()

  /** Whether keys that were never named are isolated. */
  get isOfAll(): boolean {
    return this.#isOfAll
  }

  get exceptions(): string[] {
    return [...this.#exceptions]
  }

  /** Whether anything is isolated. */
  get isSome(): boolean {
    return this.#isOfAll || this.#exceptions.size > 0
  }

  has(key: string | undefined): boolean {
    return this.#isOfAll !== (key !== undefined && this.#exceptions.has(key))
  }

  /** Sets it for a key, or for all of them. */
  set(key: string | undefined, isIsolated: boolean): void {
    if (key === undefined) {
      this.#isOfAll = isIsolated
      this.#exceptions.clear()
    } else if (isIsolated === this.#isOfAll) this.#exceptions.delete(key)
    else this.#exceptions.add(key)
  }
}
