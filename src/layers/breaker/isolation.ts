/** The keys that an operator has isolated: a list of keys, or all keys except a list. */
export class Isolation {
  #isOfAll = false
  readonly #exceptions = new Set<string>()

  /** Whether keys that were never mentioned are isolated. */
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

  /** Isolates a key, or all keys, or ends the isolation. */
  set(key: string | undefined, isIsolated: boolean): void {
    if (key === undefined) {
      this.#isOfAll = isIsolated
      this.#exceptions.clear()
    } else if (isIsolated === this.#isOfAll) this.#exceptions.delete(key)
    else this.#exceptions.add(key)
  }
}
