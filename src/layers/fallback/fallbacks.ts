import {
  ANSWERED_BY,
  atOnce,
  type Context,
  hookFailed,
  isJsonData,
  isStream,
  KEEP,
  processWide,
} from '../../core/index.js'
import type { Candidate } from './candidates.js'
import { Health } from './health.js'
import { isWorthAnother } from './worth.js'

export interface FallbacksOptions {
  readonly name: string
  readonly candidates: readonly Candidate[]
  readonly when: ((error: unknown, candidate: number) => boolean) | undefined
  readonly accept: ((answer: unknown) => boolean) | undefined
}

/** Shared by all copies of the library, because a call may pass from one to another. */
const layers = processWide('fallback-layers', () => ({ count: 0 }))

/** One `fallback()`: its candidates, their health, and the rules for asking the next one. */
export class Fallbacks {
  /** Id of the layer, for `context.via`. */
  readonly id = `fallback${++layers.count}`
  readonly name: string
  readonly candidates: readonly Candidate[]
  readonly health = new Health()
  readonly #when: FallbacksOptions['when']
  readonly #accept: FallbacksOptions['accept']
  readonly #answered = new Map<string, number>()
  #used = 0
  #exhausted = 0

  constructor({ name, candidates, when, accept }: FallbacksOptions) {
    this.name = name
    this.candidates = candidates
    this.#when = when
    this.#accept = accept
  }

  /** Notes who is asked now. Removes what an earlier candidate noted. */
  note({ meta }: Context, { place }: Candidate, model: string | undefined): void {
    meta.set(this.name, { candidate: place, model })
    meta.set(ANSWERED_BY, { model })
    meta.delete(KEEP)
  }

  /**
   * Whether an answer is good enough. Streams are not judged, because they have already started.
   */
  accepts(answer: unknown): boolean {
    if (this.#accept === undefined || isStream(answer)) return true
    try {
      return atOnce(this.#accept(isJsonData(answer) ? answer.data.value : answer))
    } catch (thrown) {
      hookFailed('fallback: accept()', thrown)
      return true
    }
  }

  isWorthAnother(error: unknown, { place }: Candidate, hasModel: boolean): boolean {
    if (this.#when === undefined) return isWorthAnother(error, hasModel)
    try {
      return atOnce(this.#when(error, place))
    } catch (thrown) {
      hookFailed('fallback: when()', thrown)
      return isWorthAnother(error, hasModel)
    }
  }

  countAnswer({ label }: Candidate): void {
    this.#used++
    this.#answered.set(label, (this.#answered.get(label) ?? 0) + 1)
  }

  countExhausted(): void {
    this.#exhausted++
  }

  stats() {
    return {
      used: this.#used,
      exhausted: this.#exhausted,
      byCandidate: Object.fromEntries(this.#answered),
    }
  }
}
