import { Cancel, type Context, type Handler, isStackError } from '../../core/index.js'
import type { BatchedCall } from './batched-call.js'

type Merged = ReturnType<Context['base']['merge']>

/** Error codes that may be caused by the content of a request. */
const REFUSALS: readonly string[] = ['BAD_REQUEST', 'VALIDATION', 'TOO_LARGE']

/**
 * The upstream calls of one batch: usually one, or several to find the input that caused a
 * rejection.
 */
export class UpstreamCalls {
  readonly #next: Handler
  readonly #context: Context
  readonly #stats: { batches: number; items: number }

  constructor(next: Handler, context: Context, stats: { batches: number; items: number }) {
    this.#next = next
    this.#context = context
    this.#stats = stats
  }

  /** Settles every call. Resolves with whether upstream has failed all of them. */
  async answer(all: readonly BatchedCall[]): Promise<boolean> {
    const calls = all.filter(({ isSettled }) => !isSettled)
    if (calls.length === 0) return false
    this.#stats.batches++
    for (const { size } of calls) this.#stats.items += size
    let merged: Merged
    let answer: unknown
    try {
      merged = merge(calls, this.#context)
      answer = await this.#next(merged.request, this.#context)
    } catch (error) {
      if (this.#mayBeOneInput(calls, error)) return this.#halve(calls, error)
      rejectAll(calls, error)
      return !this.#context.cancel.aborted
    }
    return cut(calls, merged, answer)
  }

  /**
   * Whether one bad input may have caused the error: upstream rejected the request's content, or
   * the function threw an error of its own.
   */
  #mayBeOneInput(calls: readonly BatchedCall[], error: unknown): boolean {
    if (calls.length === 1 || this.#context.cancel.aborted) return false
    return !isStackError(error) || REFUSALS.includes(error.code)
  }

  /** Finds the bad input by halving the batch: about 2 log₂ n calls. */
  async #halve(calls: readonly BatchedCall[], error: unknown): Promise<boolean> {
    const middle = calls.length >> 1
    const firstFailed = await this.#answerHalf(calls.slice(0, middle))
    const rest = calls.slice(middle)
    // An error from outside this library may also be an outage. If a whole half has failed with
    // one, do not halve the other half as well.
    if (firstFailed && !isStackError(error) && middle > 1) return rejectAll(rest, error)
    return (await this.#answerHalf(rest)) && firstFailed
  }

  async #answerHalf(calls: readonly BatchedCall[]): Promise<boolean> {
    const half = new Half(calls)
    const { cancel } = this.#context
    cancel.add(half)
    const context = this.#context.derive({ cancel: half })
    const isFailed = await new UpstreamCalls(this.#next, context, this.#stats).answer(calls)
    cancel.remove(half)
    return isFailed
  }
}

/** Calls of a batch that are sent separately. Aborted when the last of them is aborted. */
class Half extends Cancel {
  readonly #calls: readonly BatchedCall[]

  constructor(calls: readonly BatchedCall[]) {
    super()
    this.#calls = calls
    for (const call of calls) call.half = this
  }

  /** A call has been aborted. */
  left(reason: unknown): void {
    if (this.#calls.every(({ isSettled }) => isSettled)) this.abort(reason)
  }
}

/**
 * Merges the requests of several calls. A single call keeps its request and gets the whole answer.
 */
function merge(calls: readonly BatchedCall[], { base }: Context): Merged {
  const [first] = calls
  if (calls.length === 1 && first !== undefined) return { request: first.request, part: whole }
  return base.merge(calls.map(({ request }) => request))
}

function whole(answer: unknown): unknown {
  return answer
}

/** Gives each call its part of the answer. If the answer cannot be split, all calls fail. */
function cut(calls: readonly BatchedCall[], merged: Merged, answer: unknown): boolean {
  let from = 0
  try {
    const parts = calls.map(({ size }) => {
      const part = merged.part(answer, from, size)
      from += size
      return part
    })
    for (const [i, call] of calls.entries()) call.resolve(parts[i])
    return false
  } catch (error) {
    return rejectAll(calls, error)
  }
}

function rejectAll(calls: readonly BatchedCall[], error: unknown): true {
  for (const call of calls) call.reject(error)
  return true
}
