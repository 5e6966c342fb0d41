import { now } from '../../core/index.js'
import type { Candidate } from './candidates.js'

/** Who fails this often in a row … */
const FAILURES = 3
/** … within this time is passed over. Milliseconds. */
const WITHIN_MS = 60_000
/** For so long. Milliseconds. */
const PASSED_OVER_MS = 30_000
/** Names of models come from callers, so not all of them are remembered. */
const NAMES_KEPT = 1_000

interface Failures {
  /** When it failed, at most the last three times. */
  readonly times: number[]
  passedOverUntil: number
}

/**
 * Which candidates are doing badly. A success in between begins the count anew: of a hundred calls
 * a second three may fail within a minute and mean nothing. While a candidate is passed over its
 * failures stay known, so that one more right behind it is enough.
 */
export class Health {
  readonly #failures = new Map<string, Failures>()

  isPassedOver(candidate: Candidate, model: string | undefined): boolean {
    // Nearly always nobody has failed.
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

/** A model of the stack's own function is the same wherever it stands in the list. */
const nameOf = ({ isOwn, place }: Candidate, model: string | undefined): string =>
  isOwn ? `model ${model ?? ''}` : `candidate ${place}`
