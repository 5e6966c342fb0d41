import {
  ANSWERED_BY,
  type AnsweredBy,
  type Context,
  type Handler,
  isStackError,
  type MaybePromise,
  notifyEnd,
  onEnd,
  proceed,
  type StreamEnd,
  streamOf,
  type TokenUsage,
  tokensOf,
} from '../../core/index.js'
import { charactersInAnswer, charactersInChunk } from './characters.js'
import { type Amounts, isAmount, NOTHING } from './limits.js'
import type { Reservation } from './store.js'
import { hasNoOutput } from './verdict.js'
import type { Weight } from './weight.js'

const ONE_REQUEST: Amounts = Object.freeze({ requests: 1, tokens: 0, cost: 0 })

/** What a call needs of its limits. */
export interface CallLimits {
  /** The call has ended: gives back its reservation, once. */
  settle(call: LimitedCall, reservation: Reservation, taken: Amounts): void
  /** Upstream has answered: keeps what it has said of its own limits. */
  readPause(call: LimitedCall): void
}

/** One call with a key: what it takes at admission, and what it has really taken at its end. */
export class LimitedCall {
  readonly key: string
  readonly request: unknown
  readonly context: Context
  /** What it takes at admission. */
  readonly amounts: Amounts
  readonly #limits: CallLimits
  /** Undefined when only requests are limited: then nothing is counted at its end. */
  readonly #weight: Weight | undefined
  #reservation: Reservation | undefined
  /** How often the base had been called before. */
  #attemptsBefore = 0
  /** What the answer, or the last chunk that reports any, has cost. */
  #usage: TokenUsage | undefined
  /** Of the answer, as far as it has come. */
  #characters = 0

  constructor(
    limits: CallLimits,
    key: string,
    request: unknown,
    context: Context,
    weight: Weight | undefined,
  ) {
    this.#limits = limits
    this.key = key
    this.request = request
    this.context = context
    this.#weight = weight
    this.amounts = weight?.amounts ?? ONE_REQUEST
  }

  /** Runs it, for what was granted. */
  run(next: Handler, reservation: Reservation): MaybePromise<unknown> {
    this.#reservation = reservation
    this.#attemptsBefore = this.context.attempts
    let answer: unknown
    try {
      answer = next(this.request, this.context)
    } catch (error) {
      return this.#failed(error)
    }
    return proceed(
      answer,
      (value) => this.#answered(value),
      (error) => this.#failed(error),
    )
  }

  /** Its answer has ended. */
  ended(end: StreamEnd): void {
    this.#settle(this.#taken(end.outcome === 'complete'))
  }

  #answered(answer: unknown): unknown {
    this.#limits.readPause(this)
    try {
      if (this.#weight === undefined) return onEnd(answer, this)
      this.#noteModel(this.#weight)
      const stream = streamOf(answer)
      if (stream === undefined) this.#look(answer, charactersInAnswer)
      else stream.tap((chunk) => this.#look(chunk, charactersInChunk))
      return onEnd(stream ?? answer, this)
    } catch (error) {
      // It is a stream that cannot be read.
      notifyEnd(this, { outcome: 'failed', error })
      throw error
    }
  }

  /** Another model than was asked may have answered, at another price. */
  #noteModel(weight: Weight): void {
    const note = this.context.notes?.get(ANSWERED_BY) as AnsweredBy | null | undefined
    if (typeof note?.model === 'string') weight.model = note.model
  }

  #failed(error: unknown): never {
    this.#limits.readPause(this)
    this.#settle(this.#lost(error))
    throw error
  }

  /** What a call has taken that failed before its answer began. */
  #lost(error: unknown): Amounts {
    // Where the call waited for something when its caller left, the base has not been called.
    if (this.context.attempts === this.#attemptsBefore) return NOTHING
    const isRefusal = isStackError(error) && error.refused
    // A repeat that was refused, as by an open breaker, has what went wrong before as its cause.
    const failure = isRefusal ? (error.cause ?? error) : error
    if (isStackError(failure) && failure.refused) return NOTHING
    return hasNoOutput(failure) ? ONE_REQUEST : this.#taken()
  }

  /** At a whole answer, or a chunk of one. */
  #look(part: unknown, charactersIn: (part: unknown) => number): void {
    const usage = this.context.base.usage(part)
    if (isAmount(usage?.input) && isAmount(usage?.output)) this.#usage = usage
    else if (this.#usage === undefined) this.#characters += charactersIn(part)
  }

  /** What it has taken, as far as that is known. */
  #taken(isComplete = false): Amounts {
    const weight = this.#weight
    if (weight === undefined) return ONE_REQUEST
    if (isComplete && this.#usage !== undefined) weight.learn(this.#usage.output)
    return weight.taken(this.#usage ?? this.#estimate(weight))
  }

  /** Without a report: the input, and what has come of what the request allows. */
  #estimate({ input, allowedOutput }: Weight): TokenUsage {
    const came = tokensOf(this.#characters)
    return { input, output: Math.min(came, allowedOutput) }
  }

  #settle(taken: Amounts): void {
    const reservation = this.#reservation
    if (reservation === undefined) return
    this.#reservation = undefined
    this.#limits.settle(this, reservation, taken)
  }
}
