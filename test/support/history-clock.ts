import { afterEach, beforeEach, vi } from 'vitest'

// Taken before any test fakes it.
const immediate = setImmediate

/** Lets everything run that is due without the clock moving on. */
export const settle = (): Promise<void> => new Promise((resolve) => immediate(resolve))

interface Entry {
  due: number
  readonly place: number
  readonly every: number | undefined
  readonly run: () => void
}

/**
 * A clock that stands until it is moved, in place of the timers, of `performance.now()` and of
 * `Date.now()`. As in Node everything that follows from one timer runs before the next, also of two
 * that are due at the same moment, which vitest's own clock does not do without a real pause.
 */
export class HistoryClock {
  // Not 0, which stands for "never" in a library underneath.
  #now = 1_000
  #places = 0
  readonly #entries = new Set<Entry>()

  /**
   * Takes the place of the real clock until `vi.unstubAllGlobals()` and `vi.restoreAllMocks()`, and
   * begins anew without timers.
   */
  install(): this {
    this.#now = 1_000
    this.#entries.clear()
    const set =
      (every: boolean) =>
      (run: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) =>
        this.#set(run, ms, args, every)
    const clear = (entry: Entry | undefined) => void (entry && this.#entries.delete(entry))
    vi.stubGlobal('setTimeout', set(false))
    vi.stubGlobal('setInterval', set(true))
    vi.stubGlobal('clearTimeout', clear)
    vi.stubGlobal('clearInterval', clear)
    vi.spyOn(performance, 'now').mockImplementation(() => this.#now)
    vi.spyOn(Date, 'now').mockImplementation(() => Date.UTC(2026, 0, 1) + Math.floor(this.#now))
    return this
  }

  /** Timers that are set. */
  get timers(): number {
    return this.#entries.size
  }

  #set(
    run: (...args: unknown[]) => void,
    ms: number | undefined,
    args: unknown[],
    every: boolean,
  ): Entry {
    // As Node does: at least one millisecond.
    const delay = ms !== undefined && ms >= 1 ? ms : 1
    const entry = {
      due: this.#now + delay,
      place: ++this.#places,
      every: every ? delay : undefined,
      run: () => run(...args),
    }
    this.#entries.add(entry)
    return Object.assign(entry, { ref: () => entry, unref: () => entry })
  }

  #next(): Entry | undefined {
    let next: Entry | undefined
    for (const entry of this.#entries) {
      if (
        next === undefined ||
        entry.due < next.due ||
        (entry.due === next.due && entry.place < next.place)
      )
        next = entry
    }
    return next
  }

  /** Moves on by `ms`, timer by timer. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms
    await settle()
    for (let entry = this.#next(); entry !== undefined && entry.due <= end; entry = this.#next()) {
      this.#now = entry.due
      if (entry.every === undefined) this.#entries.delete(entry)
      else entry.due += entry.every
      entry.run()
      await settle()
    }
    this.#now = end
  }

  /** Moves on until `done` is true, by `ms` at most. */
  async passUntil(done: () => boolean, ms: number): Promise<void> {
    await settle()
    for (let left = ms; left > 0 && !done(); left -= 5) await this.pass(Math.min(5, left))
  }
}

/** A history clock in place of the real one, anew in each test of the file. */
export function useHistoryClock(): HistoryClock {
  const clock = new HistoryClock()
  beforeEach(() => {
    clock.install()
  })
  afterEach(() => {
    vi.unstubAllGlobals()
    vi.restoreAllMocks()
  })
  return clock
}

/** A failure is worth the time that its smallest form takes to find. */
export const MINIMIZE_MS = 180_000

/** A moment: what happens in one millisecond is still told apart by its place. */
export interface Moment {
  readonly at: number
  readonly place: number
}

let places = 0

export const now = (): Moment => ({ at: performance.now(), place: ++places })
