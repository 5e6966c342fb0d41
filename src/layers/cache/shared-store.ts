import { digest, type SharedEntries, wallTime } from '../../core/index.js'
import type { StoredAnswer } from '../stored-form.js'
import { opened, sealedText } from './envelope.js'
import type { MemoryStore } from './memory-store.js'
import type { Entry, EntryStore } from './store.js'

/** An entry as it came, and how much had changed when it was asked for. */
interface Fetched extends Entry {
  readonly changes: number
}

/**
 * Two levels: what is in memory is served from there, anything else is asked of what the processes
 * have together.
 */
export class SharedStore implements EntryStore {
  readonly #near: MemoryStore
  readonly #far: SharedEntries
  readonly #keepMs: number
  /** By the date. Entries from before are not believed, wherever they come from. */
  #clearedAt = 0
  /** Grows with whatever may have made what is being fetched out of date. */
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
      // What is in memory may have been forgotten elsewhere in the meantime.
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
    // What was forgotten while it was on its way must not stay in memory.
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
      // Anything may be there, and it counts as nothing.
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
