import {
  ANSWERED_BY,
  addAttempts,
  type Context,
  deadlines,
  type Expiring,
  forkNotes,
  type Handler,
  isRecord,
  isStackError,
  type MaybePromise,
  NOT_WAITING,
  now,
  onEnd,
  proceed,
  Scope,
  streamOf,
  takeNotes,
} from '../../core/index.js'
import { endsBoth } from './ends-both.js'
import { type Hedges, hasIdentity, type Place } from './hedges.js'
import type { Samples } from './samples.js'

/** One of the two tries of a call. Can be aborted on its own, and has its own notes. */
class Try extends Scope {
  readonly meta: Map<string, unknown>
  readonly #race: Expiring
  hasFailed = false
  error: unknown = undefined

  constructor(race: Expiring, { cancel, notes }: Context) {
    super(cancel)
    this.#race = race
    this.meta = notes === undefined ? new Map() : forkNotes(notes)
  }

  override abort(reason: unknown): void {
    super.abort(reason)
    // The work may never react to the abort. Do not start a second try beside it.
    deadlines.clear(this.#race)
  }

  ended(): void {
    this.dispose()
  }
}

/** Runs a call, with a second try when it is slow. */
export function runHedged<Request, Answer>(
  hedges: Hedges,
  next: Handler<Request, Answer>,
  request: Request,
  context: Context,
): MaybePromise<Answer> {
  // A second try gets no second try of its own.
  if (context.optional) return next(request, context)
  const times = hedges.timesOf(request, context)
  const delayMs = hedges.delayOf(times)
  if (delayMs !== undefined) return new Race(hedges, next, request, context, times).run(delayMs)
  const since = now()
  return proceed<Answer, Answer>(next(request, context), (answer) => {
    times.add(now() - since)
    hedges.budget?.succeeded()
    return answer
  }) as MaybePromise<Answer>
}

/** One call: its first try and, if that is slow, a second one. The first answer to start wins. */
class Race<Request, Answer> implements Expiring {
  deadlineSlot = NOT_WAITING
  readonly #hedges: Hedges
  readonly #next: Handler<Request, Answer>
  readonly #request: Request
  readonly #context: Context
  readonly #times: Samples
  readonly #since = now()
  readonly #first: Try
  #delayMs = 0
  #second: Try | undefined
  #place: Place | undefined
  #isOver = false
  #resolve!: (answer: Answer) => void
  #reject!: (error: unknown) => void
  #wake!: () => void

  constructor(
    hedges: Hedges,
    next: Handler<Request, Answer>,
    request: Request,
    context: Context,
    times: Samples,
  ) {
    this.#hedges = hedges
    this.#next = next
    this.#request = request
    this.#context = context
    this.#times = times
    this.#first = new Try(this, context)
  }

  /** Runs the call. It counts as slow when it has no answer after `delayMs`. */
  run(delayMs: number): Promise<Answer> {
    this.#delayMs = delayMs
    const answer = new Promise<Answer>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#hedges.begin()
    this.#begin(this.#first, () => {
      const inward = this.#context.derive({ cancel: this.#first, meta: this.#first.meta })
      return this.#next(this.#request, inward)
    })
    if (!this.#isOver && !this.#first.aborted) this.#watch()
    return answer
  }

  expire(): void {
    this.#wake()
  }

  /** Waits through a promise, which keeps the caller's async context. Timers do not. */
  #watch(): void {
    deadlines.set(this, this.#since + this.#delayMs)
    const slow = new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    void slow.then(() => this.#tryAgain())
  }

  #begin(tried: Try, ask: () => MaybePromise<unknown>): void {
    try {
      void proceed(
        ask(),
        (answer) => this.#answered(tried, answer as Answer),
        (error) => this.#failed(tried, error),
      )
    } catch (error) {
      this.#failed(tried, error)
    }
  }

  /** The first try is slow. */
  #tryAgain(): void {
    const { cancel, closing } = this.#context
    if (this.#isOver || cancel.aborted || closing.aborted) return
    if (!hasIdentity(this.#request, this.#context)) return
    const place = this.#hedges.placeFor(this.#request, this.#context, this.#first.meta)
    if (place === undefined) return
    this.#place = place
    if (!this.#hedges.take(this.#times, this.#context)) return this.#report('refused')
    this.#begin(this.#startSecond(place.model), () => this.#askAt(place))
  }

  #startSecond(model: string | undefined): Try {
    const second = new Try(this, this.#context)
    second.meta.set(ANSWERED_BY, { model })
    this.#second = second
    return second
  }

  #askAt({ destination, request, elsewhere }: Place): MaybePromise<unknown> {
    const second = this.#second as Try
    const inward = this.#context.derive({
      cancel: second,
      meta: second.meta,
      optional: true,
      elsewhere,
    })
    return destination.ask(this.#next as Handler<never>, request, inward, this.#hedges.id)
  }

  #answered(tried: Try, answer: Answer): void {
    if (this.#isOver) return void streamOf(answer)?.abort(tried.reason)
    // If the first try lost, it would have taken even longer.
    this.#times.add(now() - this.#since)
    this.#end(tried, true)
    if (this.#second !== undefined) this.#noteAnswer(tried)
    this.#resolve(onEnd(answer, tried))
  }

  /** Records a failure. Ignored while the other try may still answer. */
  #failed(tried: Try, error: unknown): void {
    if (this.#isOver) return
    tried.hasFailed = true
    tried.error = error
    const wasRefused = isStackError(error) && error.refused
    if (tried === this.#second) this.#decide(wasRefused ? 'refused' : 'lost')
    const isFinal =
      this.#context.cancel.aborted || (!wasRefused && endsBoth(error, this.#haveSameKey))
    const other = this.#otherThan(tried)
    if (!isFinal && other !== undefined && !other.hasFailed) return tried.dispose()
    const last = isFinal ? tried : this.#first
    this.#end(last, false)
    last.dispose()
    this.#reject(last.error)
  }

  /** Settles the call with the result of this try. Aborts the other. */
  #end(last: Try, isAnswered: boolean): void {
    this.#isOver = true
    deadlines.clear(this)
    const second = this.#second
    const other = this.#otherThan(last)
    if (second !== undefined && !second.hasFailed)
      this.#decide(isAnswered && last === second ? 'won' : 'lost')
    if (other !== undefined && !other.hasFailed) other.abort(lostRace())
    other?.dispose()
    this.#copyNotes(last, other)
    this.#hedges.end(isAnswered)
  }

  #copyNotes(last: Try, other: Try | undefined): void {
    const { cancel } = this.#context
    // Reading `meta` creates the call's own map, which most calls do not need.
    if (last.meta.size > 0) {
      // After an abort, an outer layer may have continued with notes of its own. Keep those.
      if (cancel.aborted) addAttempts(this.#context.meta, last.meta)
      else takeNotes(this.#context.meta, last.meta)
    }
    if (other !== undefined) addAttempts(this.#context.meta, other.meta)
  }

  #otherThan(tried: Try): Try | undefined {
    return tried === this.#first ? this.#second : this.#first
  }

  /** Another client or member uses its own API key, which may be valid although this one is not. */
  get #haveSameKey(): boolean {
    const place = this.#place
    const { base } = this.#context
    if (place === undefined || base.ownKey(this.#request) === true) return true
    return !place.destination.isElsewhere && place.elsewhere.length === 0
  }

  #decide(outcome: 'won' | 'lost' | 'refused'): void {
    this.#hedges.secondEnded(outcome === 'refused', this.#context)
    this.#report(outcome)
  }

  #report(outcome: 'won' | 'lost' | 'refused'): void {
    const { stats, name } = this.#hedges
    stats[outcome]++
    if (outcome !== 'refused') stats.hedged++
    this.#context.trace?.hedge(name, outcome, this.#delayMs, this.#place?.model)
  }

  #noteAnswer(tried: Try): void {
    const { meta, base } = this.#context
    const by = meta.get(ANSWERED_BY)
    // An inner fallback has noted the model, or has returned a value that comes from no model.
    if (tried === this.#first && !(isRecord(by) && 'model' in by))
      meta.set(ANSWERED_BY, { ...(isRecord(by) && by), model: base.model?.(this.#request) })
    meta.set(this.#hedges.name, { won: tried === this.#second, delayMs: this.#delayMs })
  }
}

const lostRace = () =>
  new DOMException('Aborted: the other try of this call answered first.', 'AbortError')
