import { now } from '../../core/index.js'
import type { Candidate } from './candidates.js'

/** A candidate that fails this many times in a row … */
const FAILURES = 3
/** … within this time is skipped. Milliseconds. */
const WITHIN_MS = 60_000
/** How long it is skipped. Milliseconds. */
const PASSED_OVER_MS = 30_000
/** Limited, because callers choose the names of models. */
const NAMES_KEPT = 1_000

interface Failures {
  /** When it failed, at most the last three times. */
  readonly times: number[]
  passedOverUntil: number
}

/**
 * Tracks candidates that keep failing. A success resets the count: of a hundred calls a second,
 * three may fail within a minute without meaning anything. Failures are remembered while a
 * candidate is skipped, so that one more failure afterwards is enough to skip it again.
 */
export class Health {
  readonly #failures = new Map<string, Failures>()

  isPassedOver(candidate: Candidate, model: string | undefined): boolean {
    // The common case: no failures.
    if (this.#failures.size === 0) return false
    const failures = this.#failures.get(nameOf(candidate, model))
    return failures !== undefined && failures.passedOverUntil > now()
  }

  succeeded(candidate: Candidate, model: string | undefined): void {
    if (this.#failures.size > 0) this.#failures.delete(nameOf(candidate, model))
  }

  failed(candidate: Candidate, model: string | undefined): void {
    const at = now()
    const failures = this.#failuresOf(nameOf(candidate, model))
    failures.times.push(at)
    if (failures.times.length > FAILURES) failures.times.shift()
    const [first = at] = failures.times
    if (failures.times.length === FAILURES && at - first <= WITHIN_MS)
      failures.passedOverUntil = at + PASSED_OVER_MS
  }

  #failuresOf(name: string): Failures {
    let failures = this.#failures.get(name)
    if (failures === undefined) {
      const [oldest] = this.#failures.keys()
      if (oldest !== undefined && this.#failures.size >= NAMES_KEPT) this.#failures.delete(oldest)
      failures = { times: [], passedOverUntil: 0 }
      this.#failures.set(name, failures)
    }
    return failures
  }
}

/** A model of the stack's own base has one record, wherever it is in the list. */
const nameOf = ({ isOwn, place }: Candidate, model: string | undefined): string =>
  isOwn ? `model ${model ?? ''}` : `candidate ${place}`
