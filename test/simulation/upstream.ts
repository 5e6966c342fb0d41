import { now, sleep, type TokenUsage } from '../../src/core/index.js'
import { upstreamError } from '../support/upstream.js'

/** How long calls take, around a mean. */
export type Distribution = (mean: number, random: () => number) => number

export const DISTRIBUTIONS = {
  fixed: (mean) => mean,
  uniform: (mean, random) => mean * (0.5 + random()),
  /** Many short ones and a few long ones, as answers of a model are. */
  lognormal: (mean, random) => {
    const deviation = 0.6
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
    return mean * Math.exp(deviation * normal - deviation ** 2 / 2)
  },
} satisfies Record<string, Distribution>

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
  }

  /** The function to put a stack around. */
  readonly answer = async (ask: Ask): Promise<Ask> => {
    this.requests++
    this.inProgress++
    this.mostInProgress = Math.max(this.mostInProgress, this.inProgress)
    try {
      if (this.#working >= this.capacity) await this.#excess()
      else this.#working++
      await this.#work()
      return ask
    } finally {
      this.inProgress--
    }
  }

  async #excess(): Promise<void> {
    const { excess, retryAfter } = this.#options
    if (excess === 'queues') return new Promise((resolve) => this.#line.push(resolve))
    this.refused++
    await sleep(REFUSAL_MS)
    throw upstreamError('RATE_LIMITED', { retryAfter })
  }

  async #work(): Promise<void> {
    const { meanMs, distribution, random } = this.#options
    if (this.#working >= 0.8 * this.capacity) this.requestsUntilBusy ??= this.requests
    await sleep(distribution(meanMs, random))
    this.ends.push(now())
    this.#working--
    this.#next()
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
    return (done * this.#options.meanMs) / (this.capacity * (untilMs - fromMs))
  }
}
