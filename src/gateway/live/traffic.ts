import type { StackEvent } from '../../core/index.js'
import { type Quantiles, Recent } from './recent.js'

/** Number of ended calls by outcome. */
export interface Outcomes {
  complete: number
  failed: number
  /** Aborted by the caller, or the caller disconnected. */
  left: number
}

/** The traffic of one second, and totals. */
export interface TrafficNow {
  /** Calls that ended in the last second. */
  readonly lastSecond: Outcomes
  /** Calls that ended since watching began. */
  readonly totals: Outcomes
  /** Running calls that began after watching began. */
  readonly inProgress: number
  readonly firstToken: Quantiles | undefined
  readonly duration: Quantiles | undefined
  /** Counts of cache hits, attempts, retries and so on since watching began. */
  readonly work: Readonly<Record<WorkName, number>>
}

type WorkName = 'hits' | 'misses' | 'joined' | 'attempts' | 'retries' | 'hedges' | 'fallbacks'

/** A failed call, from its events. */
export interface FailedCall {
  readonly call: string
  readonly code: string
  readonly model: string | undefined
}

const none = (): Outcomes => ({ complete: 0, failed: 0, left: 0 })

/** Seconds that the chart shows. */
const COURSE_SECONDS = 120

/** Counts a client's calls from its events while a page is open. */
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

  readonly onEvent = (event: StackEvent): void => {
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
    // Ignore calls made by another call, and calls that began before watching.
    if (!this.#open.delete(call)) return
    const kind = outcome === 'aborted' ? 'left' : outcome
    this.#second[kind]++
    this.#totals[kind]++
    if (kind === 'complete') this.#durations.add(durationMs)
    if (firstTokenMs !== undefined) this.#firstTokens.add(firstTokenMs)
    if (kind === 'failed') this.#onFailed({ call, code, model })
  }
}
