import { Cancel, type Context, type Handler, isStackError } from '../../core/index.js'
import type { BatchedCall } from './batched-call.js'

type Merged = ReturnType<Context['base']['merge']>

/** Codes of refusals for what was asked. */
const REFUSALS: readonly string[] = ['BAD_REQUEST', 'VALIDATION', 'TOO_LARGE']

/** The upstream calls of one batch: one, or more to find the input for which it was refused. */
export class UpstreamCalls {
  readonly #next: Handler
  readonly #context: Context
  readonly #stats: { batches: number; items: number }

  constructor(next: Handler, context: Context, stats: { batches: number; items: number }) {
    this.#next = next
    this.#context = context
    this.#stats = stats
  }

  /** Answers every call, whatever happens. Resolves with whether upstream has failed them all. */
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
   * Whether one input of many can be the reason: upstream refused what was asked, or somebody
   * else's function threw.
   */
  #mayBeOneInput(calls: readonly BatchedCall[], error: unknown): boolean {
    if (calls.length === 1 || this.#context.cancel.aborted) return false
    return !isStackError(error) || REFUSALS.includes(error.code)
  }

  /** Finds the bad input by halving: about 2 log₂ n calls. */
  async #halve(calls: readonly BatchedCall[], error: unknown): Promise<boolean> {
    const middle = calls.length >> 1
    const firstFailed = await this.#answerHalf(calls.slice(0, middle))
    const rest = calls.slice(middle)
    // A foreign error may as well be an outage: once a whole half has failed with one, the other
    // is asked as a whole or not at all.
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

/** Some calls of a batch that are sent by themselves: ends when the last of their callers goes. */
class Half extends Cancel {
  readonly #calls: readonly BatchedCall[]

  constructor(calls: readonly BatchedCall[]) {
    super()
    this.#calls = calls
    for (const call of calls) call.half = this
  }

  /** The caller of one has gone. */
  left(reason: unknown): void {
    if (this.#calls.every(({ isSettled }) => isSettled)) this.abort(reason)
  }
}

/** The calls' requests as one; of a lone call its own, whose answer it gets as it is. */
function merge(calls: readonly BatchedCall[], { base }: Context): Merged {
  const [first] = calls
  if (calls.length === 1 && first !== undefined) return { request: first.request, part: whole }
  return base.merge(calls.map(({ request }) => request))
}

function whole(answer: unknown): unknown {
  return answer
}

/** Gives each call its part of the answer. An answer that cannot be cut is no input's fault. */
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
