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

/** What a call needs from its limits. */
export interface CallLimits {
  /** The call has ended: settles its reservation, once. */
  settle(call: LimitedCall, reservation: Reservation, taken: Amounts): void
  /** Upstream has answered: reads what it reports about its own limits. */
  readPause(call: LimitedCall): void
}

/** One call with a key: its estimate when it starts, and its actual amounts at the end. */
export class LimitedCall {
  readonly key: string
  readonly request: unknown
  readonly context: Context
  /** The amounts taken when it starts. */
  readonly amounts: Amounts
  readonly #limits: CallLimits
  /** Undefined when only requests are limited, so that nothing needs counting at the end. */
  readonly #weight: Weight | undefined
  #reservation: Reservation | undefined
  /** How often the base had been called before. */
  #attemptsBefore = 0
  /** Last usage reported by the answer or its chunks. */
  #usage: TokenUsage | undefined
  /** Characters of the answer so far. */
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

  /** Runs the call with its reservation. */
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
      // A stream that cannot be read.
      notifyEnd(this, { outcome: 'failed', error })
      throw error
    }
  }

  /** Another model than requested may have answered, at another price. */
  #noteModel(weight: Weight): void {
    const note = this.context.notes?.get(ANSWERED_BY) as AnsweredBy | null | undefined
    if (typeof note?.model === 'string') weight.model = note.model
  }

  #failed(error: unknown): never {
    this.#limits.readPause(this)
    this.#settle(this.#lost(error))
    throw error
  }

  /** The amounts of a call that failed before its answer started. */
  #lost(error: unknown): Amounts {
    // The call was aborted while waiting further inward, so the base was never called.
    if (this.context.attempts === this.#attemptsBefore) return NOTHING
    const isRefusal = isStackError(error) && error.refused
    // If a retry was rejected, for example by an open circuit, the `cause` is the actual failure.
    const failure = isRefusal ? (error.cause ?? error) : error
    if (isStackError(failure) && failure.refused) return NOTHING
    return hasNoOutput(failure) ? ONE_REQUEST : this.#taken()
  }

  /** Reads the usage from an answer or chunk, or counts its characters. */
  #look(part: unknown, charactersIn: (part: unknown) => number): void {
    const usage = this.context.base.usage(part)
    if (isAmount(usage?.input) && isAmount(usage?.output)) this.#usage = usage
    else if (this.#usage === undefined) this.#characters += charactersIn(part)
  }

  /** The amounts that the call has used, as far as known. */
  #taken(isComplete = false): Amounts {
    const weight = this.#weight
    if (weight === undefined) return ONE_REQUEST
    if (isComplete && this.#usage !== undefined) weight.learn(this.#usage.output)
    return weight.taken(this.#usage ?? this.#estimate(weight))
  }

  /** Without a usage report: the input, and the output estimated from its characters. */
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
