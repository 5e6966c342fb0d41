import { now } from '../../core/index.js'

/**
 * How long an ended stream is remembered, so that it is answered with 410 instead of 404.
 * Milliseconds.
 */
export const REMEMBERED_MS = 3_600_000

/** Maximum number of remembered streams; the oldest are dropped first. */
const MOST = 100_000

interface Remembered {
  readonly until: number
  readonly wasStopped: boolean
}

/** The keys of streams that have ended on this server. */
export class RememberedKeys {
  /** In the order in which they expire. */
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

  /** Whether a client stopped the stream. */
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
