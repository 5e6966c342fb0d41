import { now } from '../../core/index.js'

/** How long it is known that there was a stream, after its end. Milliseconds. */
export const REMEMBERED_MS = 3_600_000

/** So many streams are remembered at most, the latest. */
const MOST = 100_000

interface Remembered {
  readonly until: number
  readonly wasStopped: boolean
}

/** The streams that have been here. */
export class RememberedKeys {
  /** Those that are forgotten first come first. */
  readonly #all = new Map<string, Remembered>()

  add(key: string, { wasStopped = false } = {}): void {
    const before = this.#all.get(key)
    this.#all.delete(key)
    this.#all.set(key, {
      until: now() + REMEMBERED_MS,
      wasStopped: wasStopped || before?.wasStopped === true,
    })
    for (const [oldest, { until }] of this.#all) {
      if (this.#all.size <= MOST && until > now()) return
      this.#all.delete(oldest)
    }
  }

  has(key: string): boolean {
    return this.#find(key) !== undefined
  }

  /** Whether it was stopped by a client. */
  wasStopped(key: string): boolean {
    return this.#find(key)?.wasStopped === true
  }

  clear(): void {
    this.#all.clear()
  }

  #find(key: string): Remembered | undefined {
    const found = this.#all.get(key)
    return found !== undefined && found.until > now() ? found : undefined
  }
}
