import { type Cancel, type Context, now, sleep, type TokenUsage } from '../../src/core/index.js'
import { upstreamError } from '../support/upstream.js'

/** How long calls take, around a mean. */
export type Distribution = (mean: number, random: () => number) => number

export const DISTRIBUTIONS = {
  fixed: (mean) => mean,
  uniform: (mean, random) => mean * (0.5 + random()),
  exponential: (mean, random) => -mean * Math.log(1 - random()),
  /** Many short ones and a few long ones, as answers of a model are. */
  lognormal: (mean, random) => {
    const deviation = 0.6
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
    return mean * Math.exp(deviation * normal - deviation ** 2 / 2)
  },
} satisfies Record<string, Distribution>

/** As `usual`, but `share` of the calls take so many times as long. */
export const withTail =
  (usual: Distribution, share: number, times: number): Distribution =>
  (mean, random) =>
    (random() < share ? times : 1) * usual(mean, random)

export interface UpstreamOptions {
  /** Calls that it works on at once. */
  capacity: number
  /** What becomes of one more: a 429, or it waits for its turn inside. */
  excess: 'refuses' | 'queues'
  meanMs: number
  distribution: Distribution
  random: () => number
  /** Named in its refusals. Milliseconds. @default none */
  retryAfter?: number
}

export interface Ask {
  /** What the answer reports. */
  readonly usage?: TokenUsage
}

/** After that a refusal arrives. Milliseconds. */
const REFUSAL_MS = 10

/** An upstream with so many servers, on the clock of core/time. */
export class SimulatedUpstream {
  capacity: number
  meanMs: number
  /** Calls that are here, whether it works on them or not. */
  inProgress = 0
  mostInProgress = 0
  requests = 0
  refused = 0
  /** When each call was done. */
  readonly ends: number[] = []
  /** Requests when it first had this share of its capacity to do. */
  requestsUntilBusy: number | undefined
  readonly #options: UpstreamOptions
  #working = 0
  readonly #line: (() => void)[] = []

  constructor(options: UpstreamOptions) {
    this.#options = options
    this.capacity = options.capacity
    this.meanMs = options.meanMs
  }

  /** The function to put a stack around. A call that is aborted leaves its server at once. */
  readonly answer = async (ask: Ask, { cancel }: Pick<Context, 'cancel'>): Promise<Ask> => {
    this.requests++
    this.inProgress++
    this.mostInProgress = Math.max(this.mostInProgress, this.inProgress)
    try {
      if (this.#working >= this.capacity) await this.#excess(cancel)
      else this.#working++
      await this.#work(cancel)
      return ask
    } finally {
      this.inProgress--
    }
  }

  async #excess(cancel: Cancel): Promise<void> {
    const { excess, retryAfter } = this.#options
    if (excess === 'queues') return this.#waitInLine(cancel)
    this.refused++
    await sleep(REFUSAL_MS, cancel)
    throw upstreamError('RATE_LIMITED', { retryAfter })
  }

  #waitInLine(cancel: Cancel): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = {
        abort: (reason: unknown) => {
          this.#line.splice(this.#line.indexOf(begin), 1)
          reject(reason)
        },
      }
      const begin = () => {
        cancel.remove(leave)
        resolve()
      }
      this.#line.push(begin)
      cancel.add(leave)
    })
  }

  async #work(cancel: Cancel): Promise<void> {
    const { distribution, random } = this.#options
    if (this.#working >= 0.8 * this.capacity) this.requestsUntilBusy ??= this.requests
    try {
      await sleep(distribution(this.meanMs, random), cancel)
      this.ends.push(now())
    } finally {
      this.#working--
      this.#next()
    }
  }

  #next(): void {
    while (this.#working < this.capacity && this.#line.length > 0) {
      this.#working++
      this.#line.shift()?.()
    }
  }

  /** From now on it has so many servers. */
  resize(capacity: number): void {
    this.capacity = capacity
    this.#next()
  }

  /** Calls done in this time, of those that it could have done. */
  busyFrom(fromMs: number, untilMs: number): number {
    const done = this.ends.filter((at) => at >= fromMs && at < untilMs).length
    return (done * this.meanMs) / (this.capacity * (untilMs - fromMs))
  }
}
