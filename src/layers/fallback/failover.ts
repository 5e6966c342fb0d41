import {
  ANSWERED_BY,
  type Context,
  type Handler,
  isOfOwnKey,
  isStackError,
  isStream,
  KEEP,
  type MaybePromise,
  onEnd,
  proceed,
  remaining,
  TimeoutError,
} from '../../core/index.js'
import { type Candidate, DECLINED, FIRST } from './candidates.js'
import { addCause } from './causes.js'
import type { Fallbacks } from './fallbacks.js'

/**
 * A cache keeps a candidate's answer only for this share of its time, because the requested model's
 * answer is better.
 */
const KEPT_SHARE = 0.1

/** Asks the requested model first. Candidates follow when it fails or is skipped. */
export function askInTurn<Request, Answer>(
  fallbacks: Fallbacks,
  next: Handler<Request, Answer>,
  request: Request,
  context: Context,
): MaybePromise<Answer> {
  // The call has come back: another stack that stands in for this one uses this one as its own
  // fallback.
  if (context.via.includes(`${fallbacks.id} `)) return next(request, context)
  const model = context.base.model?.(request)
  const { health } = fallbacks
  if (health.isPassedOver(FIRST, model))
    return new Failover<Request, Answer>(fallbacks, next, request, context, model).run()
  fallbacks.note(context, FIRST, model)
  let answer: MaybePromise<Answer>
  try {
    answer = next(request, context)
  } catch (error) {
    return new Failover<Request, Answer>(fallbacks, next, request, context, model).afterFailure(
      error,
    )
  }
  return proceed<Answer, MaybePromise<Answer>>(
    answer,
    (value) => {
      if (fallbacks.accepts(value) && !isStream(value)) {
        health.succeeded(FIRST, model)
        return value
      }
      const call = new Failover(fallbacks, next, request, context, model)
      return isStream(value) ? call.watch(FIRST, value) : call.afterRefusal(value)
    },
    (error) => new Failover(fallbacks, next, request, context, model).afterFailure(error),
  ) as MaybePromise<Answer>
}

/** One call that needs a candidate. */
class Failover<Request, Answer> {
  readonly #fallbacks: Fallbacks
  readonly #next: Handler<Request, Answer>
  readonly #request: Request
  readonly #context: Context
  /** The requested model. */
  readonly #model: string | undefined
  /** Candidates asked so far. */
  readonly #asked = new Set<Candidate>()
  /** The last error. */
  #error: unknown
  #hasError = false
  /** The last answer that `accept` rejected, and its candidate. */
  #refused: { readonly candidate: Candidate; readonly answer: Answer } | undefined

  constructor(
    fallbacks: Fallbacks,
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
    model: string | undefined,
  ) {
    this.#fallbacks = fallbacks
    this.#next = next
    this.#request = request
    this.#context = context
    this.#model = model
  }

  /** Called when the requested model has failed. */
  afterFailure(error: unknown): MaybePromise<Answer> {
    this.#asked.add(FIRST)
    return this.#hasFailed(FIRST, error) ? this.run() : this.#giveUp()
  }

  /** Called when `accept` rejected the requested model's answer. */
  afterRefusal(answer: Answer): Promise<Answer> {
    this.#asked.add(FIRST)
    this.#refused = { candidate: FIRST, answer }
    return this.run()
  }

  /** Asks the remaining candidates in turn. */
  async run(): Promise<Answer> {
    for (const candidate of this.#inTurn()) {
      if (this.#asked.size > 0 && this.#isOver) return this.#giveUp()
      const asked = candidate.requestFor(this.#request, this.#context)
      if (asked === undefined) continue
      try {
        const answer = await this.#ask(candidate, asked.request)
        if (answer === DECLINED) continue
        if (this.#fallbacks.accepts(answer)) return this.#answered(candidate, answer as Answer)
        this.#refused = { candidate, answer: answer as Answer }
      } catch (error) {
        if (!this.#hasFailed(candidate, error)) return this.#giveUp()
      }
    }
    this.#fallbacks.countExhausted()
    return this.#giveUp()
  }

  /** Returns a candidate's answer. For a stream, success or failure is recorded at its end. */
  watch(candidate: Candidate, answer: Answer): Answer {
    const { health } = this.#fallbacks
    const model = this.#modelOf(candidate)
    if (!isStream(answer)) {
      health.succeeded(candidate, model)
      return answer
    }
    return onEnd(answer, ({ outcome, error }) => {
      if (outcome === 'complete') health.succeeded(candidate, model)
      else if (outcome === 'failed' && this.#countsAgainst(error)) health.failed(candidate, model)
    })
  }

  /**
   * The candidates that may be asked. Candidates to be skipped come last, for when no other is
   * left.
   */
  #inTurn(): Candidate[] {
    const { candidates, health } = this.#fallbacks
    const hasOwnKey = this.#context.base.ownKey(this.#request) === true
    const models = new Set(this.#asked.has(FIRST) ? [this.#model] : [])
    const left = [FIRST, ...candidates].filter((candidate) => {
      if (this.#asked.has(candidate) || (hasOwnKey && !candidate.isOwn)) return false
      if (!candidate.isOwn) return true
      const model = this.#modelOf(candidate)
      const isNew = !models.has(model)
      models.add(model)
      return isNew
    })
    const isFit = (candidate: Candidate) =>
      !health.isPassedOver(candidate, this.#modelOf(candidate))
    return [...left.filter(isFit), ...left.filter((candidate) => !isFit(candidate))]
  }

  #ask(candidate: Candidate, request: unknown): MaybePromise<unknown> {
    const { name, id } = this.#fallbacks
    const error = this.#error
    const model = this.#modelOf(candidate)
    this.#context.trace?.fallback(name, candidate.place, model, error)
    this.#asked.add(candidate)
    this.#fallbacks.note(this.#context, candidate, model)
    return candidate.ask({
      next: this.#next,
      request,
      context: this.#context,
      error,
      via: id,
    })
  }

  #answered(candidate: Candidate, answer: Answer): Answer {
    if (candidate !== FIRST) {
      const { meta } = this.#context
      const keep = meta.get(KEEP)
      meta.set(KEEP, typeof keep === 'number' ? Math.min(keep, KEPT_SHARE) : KEPT_SHARE)
      this.#fallbacks.countAnswer(candidate)
    }
    return this.watch(candidate, answer)
  }

  /** Records a failure. Returns whether to ask another candidate. */
  #hasFailed(candidate: Candidate, error: unknown): boolean {
    if (this.#hasError) addCause(error, this.#error)
    this.#error = error
    this.#hasError = true
    const isWorth = this.#fallbacks.isWorthAnother(error, candidate, this.#hasModel)
    if (isWorth && this.#countsAgainst(error))
      this.#fallbacks.health.failed(candidate, this.#modelOf(candidate))
    return isWorth
  }

  /** Whether the candidate is to blame. A call that was rejected before it ran does not count. */
  #countsAgainst(error: unknown): boolean {
    const { cancel } = this.#context
    // Aborts from outside do not count, except an outer time limit: then the candidate was too
    // slow.
    if (cancel.aborted && !(cancel.reason instanceof TimeoutError)) return false
    if (isStackError(error) && error.refused) return false
    return !isOfOwnKey(error, this.#request, this.#context)
  }

  /** The call is out of time, or nobody waits for it. */
  get #isOver(): boolean {
    const { cancel, closing } = this.#context
    return cancel.aborted || closing.aborted || remaining(this.#context) <= 0
  }

  /** A base without the `model` trait is treated as if its requests named a model. */
  get #hasModel(): boolean {
    return this.#model !== undefined || this.#context.base.model === undefined
  }

  #modelOf(candidate: Candidate): string | undefined {
    return candidate.modelFor(this.#model)
  }

  /** Returns the last rejected answer, which is better than none; otherwise throws. */
  #giveUp(): Answer {
    const { meta, cancel } = this.#context
    if (this.#refused !== undefined && !cancel.aborted) {
      const { candidate, answer } = this.#refused
      this.#fallbacks.note(this.#context, candidate, this.#modelOf(candidate))
      const handed = this.#answered(candidate, answer)
      meta.set(KEEP, 0)
      return handed
    }
    // After an abort, an outer layer may have continued with notes of its own. Keep those.
    if (!cancel.aborted) {
      meta.delete(this.#fallbacks.name)
      meta.delete(ANSWERED_BY)
    }
    throw this.#hasError ? this.#error : cancel.reason
  }
}
