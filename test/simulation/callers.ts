import { type CallOptions, sleep, Timer } from '../../src/core/index.js'
import type { Ask } from './upstream.js'

/** How long callers wait after a failure, before they ask again. Milliseconds. */
const PAUSE_MS = 1_000

type Call = (ask: Ask, options?: CallOptions) => Promise<unknown>

/** Callers of one tenant, or of none. */
export class Callers {
  completed = 0
  failed = 0
  #isOver = false
  readonly #call: Call
  readonly #ask: () => Ask
  readonly #options: CallOptions

  constructor(
    call: Call,
    { ask = () => ({}), ...options }: CallOptions & { ask?: () => Ask } = {},
  ) {
    this.#call = call
    this.#ask = ask
    this.#options = options
  }

  /** One call, whatever comes of it. Resolves when it is over. */
  async once(): Promise<void> {
    try {
      await this.#call(this.#ask(), this.#options)
      this.completed++
    } catch {
      this.failed++
      await sleep(PAUSE_MS)
    }
  }

  /** Keeps so many calls under way: each that is over is followed by another. */
  keep(count: number): this {
    for (let i = 0; i < count; i++) void this.#goOn()
    return this
  }

  async #goOn(): Promise<void> {
    while (!this.#isOver) await this.once()
  }

  /** Calls that come by themselves, so many a second on average. */
  come(perSecond: number, random: () => number): this {
    const next = () => {
      if (this.#isOver) return
      void this.once()
      new Timer(1 + Math.floor((-Math.log(1 - random()) * 1_000) / perSecond), next)
    }
    next()
    return this
  }

  stop(): void {
    this.#isOver = true
  }
}

/** Jain's index of what each has had: 1 when it is the same. */
export function evenness(shares: readonly number[]): number {
  const sum = shares.reduce((sum, share) => sum + share, 0)
  return sum ** 2 / (shares.length * shares.reduce((sum, share) => sum + share ** 2, 0))
}
