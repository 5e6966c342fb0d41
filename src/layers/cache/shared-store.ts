import { digest, type SharedEntries, wallTime } from '../../core/index.js'
import type { StoredAnswer } from '../stored-form.js'
import { opened, sealedText } from './envelope.js'
import type { MemoryStore } from './memory-store.js'
import type { Entry, EntryStore } from './store.js'

/** An entry, and the value of `#changes` when it was requested. */
interface Fetched extends Entry {
  readonly changes: number
}

/** Two levels: memory first, then the entries that the processes share. */
export class SharedStore implements EntryStore {
  readonly #near: MemoryStore
  readonly #far: SharedEntries
  readonly #keepMs: number
  /**
   * Time of the last clear, on the wall clock. Older entries are ignored, wherever they come from.
   */
  #clearedAt = 0
  /** Increases with each change that may invalidate an entry being fetched. */
  #changes = 0
  #onCleared: (() => void) | undefined

  constructor(near: MemoryStore, far: SharedEntries, keepMs: number) {
    this.#near = near
    this.#far = far
    this.#keepMs = keepMs
    far.watch({
      deleted: (key) => this.#forgetOne(key),
      cleared: () => {
        this.#forget()
        this.#onCleared?.()
      },
      // Entries in memory may have been deleted by another process meanwhile.
      missed: () => {
        this.#changes++
        near.clear()
      },
    })
  }

  get(key: string): Entry | Promise<Entry | undefined | null> {
    return this.#near.get(key) ?? this.#fetch(digest(key))
  }

  proved(key: string, entry: Entry): void {
    const { answer, keep, ageMs } = entry
    // If it was deleted while it was being fetched, do not keep it in memory.
    if ((entry as Fetched).changes === this.#changes) this.#near.set(key, answer, keep, ageMs)
  }

  set(key: string, answer: StoredAnswer, keep: number): void {
    this.#near.set(key, answer, keep)
    const known = digest(key)
    const text = sealedText(known, answer, keep)
    if (text !== undefined) this.#far.set(known, text, Math.ceil(this.#keepMs * keep))
  }

  async delete(of: string): Promise<boolean> {
    const wasNear = this.#forgetOne(of)
    return (await this.#far.delete(of)) || wasNear
  }

  clear(): Promise<void> {
    this.#forget()
    return this.#far.clear()
  }

  onCleared(listener: () => void): void {
    this.#onCleared = listener
  }

  entries(): number {
    return this.#near.entries()
  }

  bytes(): number {
    return this.#near.bytes()
  }

  async #fetch(known: string): Promise<Fetched | undefined | null> {
    const changes = this.#changes
    const text = await this.#far.get(known)
    if (text === undefined || text === null) return text
    try {
      const entry = opened(JSON.parse(text), known)
      return entry === undefined || entry.at < this.#clearedAt ? undefined : { ...entry, changes }
    } catch {
      // Invalid text counts as no entry.
      return undefined
    }
  }

  #forgetOne(known: string): boolean {
    this.#changes++
    return this.#near.delete(known)
  }

  #forget(): void {
    this.#changes++
    this.#clearedAt = wallTime()
    this.#near.clear()
  }
}
