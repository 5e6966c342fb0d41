import type { StackEvent } from '../../core/index.js'
import { type Quantiles, Recent } from './recent.js'

/** How many calls have ended, and how. */
export interface Outcomes {
  complete: number
  failed: number
  /** Their callers have aborted them, or gone. */
  left: number
}

/** What is told of the traffic of one second. */
export interface TrafficNow {
  /** Calls that have ended in the last second. */
  readonly lastSecond: Outcomes
  /** The same of all seconds since somebody watches. */
  readonly totals: Outcomes
  /** Calls under way that have begun since somebody watches. */
  readonly inProgress: number
  readonly firstToken: Quantiles | undefined
  readonly duration: Quantiles | undefined
  /** Since somebody watches: calls that went upstream, and how often something was done for them. */
  readonly work: Readonly<Record<WorkName, number>>
}

type WorkName = 'hits' | 'misses' | 'joined' | 'attempts' | 'retries' | 'hedges' | 'fallbacks'

/** A call that has failed, as its events tell it. */
export interface FailedCall {
  readonly call: string
  readonly code: string
  readonly model: string | undefined
}

const none = (): Outcomes => ({ complete: 0, failed: 0, left: 0 })

/** Seconds that the chart shows. */
const COURSE_SECONDS = 120

/** Counts the calls of a client from its events, while somebody watches. */
export class Traffic {
  readonly #onFailed: (failed: FailedCall) => void
  readonly #open = new Set<string>()
  readonly #firstTokens = new Recent()
  readonly #durations = new Recent()
  readonly #totals = none()
  readonly #work: Record<WorkName, number> = {
    hits: 0,
    misses: 0,
    joined: 0,
    attempts: 0,
    retries: 0,
    hedges: 0,
    fallbacks: 0,
  }
  #second = none()
  #course: (readonly [number, number, number])[] = []

  constructor(onFailed: (failed: FailedCall) => void) {
    this.#onFailed = onFailed
  }

  /** The outcomes of the last two minutes, the oldest second first. */
  get course(): readonly (readonly [number, number, number])[] {
    return this.#course
  }

  readonly hear = (event: StackEvent): void => {
    switch (event.type) {
      case 'call:start':
        if (event.parent === undefined) this.#open.add(event.call)
        return
      case 'cache':
        this.#work[event.status === 'miss' ? 'misses' : 'hits']++
        return
      case 'joined':
        this.#work.joined++
        return
      case 'attempt:end':
        if (!event.nested) this.#work.attempts++
        return
      case 'retry':
        this.#work.retries++
        return
      case 'hedge':
        this.#work.hedges++
        return
      case 'fallback':
        this.#work.fallbacks++
        return
      case 'call:end':
        this.#ended(event)
    }
  }

  /** Ends a second. */
  tick(): TrafficNow {
    const { complete, failed, left } = this.#second
    const lastSecond = this.#second
    this.#course = [...this.#course.slice(1 - COURSE_SECONDS), [complete, failed, left]]
    this.#second = none()
    return {
      lastSecond,
      totals: { ...this.#totals },
      inProgress: this.#open.size,
      firstToken: this.#firstTokens.quantiles(),
      duration: this.#durations.quantiles(),
      work: { ...this.#work },
    }
  }

  #ended(event: Extract<StackEvent, { type: 'call:end' }>): void {
    const { call, outcome, code = 'ERROR', model, durationMs, firstTokenMs } = event
    // Part of a call that is counted, or begun before.
    if (!this.#open.delete(call)) return
    const kind = outcome === 'aborted' ? 'left' : outcome
    this.#second[kind]++
    this.#totals[kind]++
    if (kind === 'complete') this.#durations.add(durationMs)
    if (firstTokenMs !== undefined) this.#firstTokens.add(firstTokenMs)
    if (kind === 'failed') this.#onFailed({ call, code, model })
  }
}
