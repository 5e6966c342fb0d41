import {
  atOnce,
  type Context,
  type Handler,
  hookFailed,
  isThenable,
  type MaybePromise,
  now,
  proceed,
  UPSTREAM_PAUSE,
  type UpstreamPause,
  warn,
} from '../../core/index.js'
import { OutputEstimates } from './estimates.js'
import { type CallLimits, LimitedCall } from './limited-call.js'
import { type Amounts, LimitRules, NOTHING } from './limits.js'
import { Note } from './note.js'
import type { LimitOptions, RateLimitOptions } from './options.js'
import { outOfBudget, overLimit, tooLate, tooManyWaiting, unknownPrice } from './refusals.js'
import type { LimitStore, Refusal, Reservation, Spent } from './store.js'
import { type LineLimits, WaitingLine } from './waiting-line.js'
import { modelOf, type Scales, Weight } from './weight.js'

/** Upstream's own limits are observed for at most this long, whatever it reports. */
const LONGEST_PAUSE_MS = 24 * 3_600_000

type By = NonNullable<RateLimitOptions['by']>

export interface RateLimitsOptions extends LimitOptions {
  readonly name: string
  readonly by: By
  readonly countTokens: ((request: unknown) => number) | undefined
  readonly mode: 'wait' | 'reject'
  readonly maxWaiting: number
  readonly maxWaitMs: number
}

/** Settings that can change at run time. */
export type RateLimitsChange = {
  readonly [Name in 'requests' | 'tokens' | 'cost' | 'mode' | 'maxWaiting' | 'maxWaitMs']:
    | RateLimitsOptions[Name]
    | undefined
}

/** The limits of one `rateLimit()`: who may start, who waits, and what has been used. */
export class RateLimits implements CallLimits, LineLimits {
  readonly #lines = new Map<string, WaitingLine>()
  readonly #store: LimitStore
  #options: RateLimitsOptions
  #rules: LimitRules
  #scales: Scales
  #pause: UpstreamPause | undefined
  #admitted = 0
  #rejected = 0
  #settled = 0

  constructor(options: RateLimitsOptions, store: LimitStore) {
    this.#options = options
    this.#rules = new LimitRules(options)
    const { countTokens } = options
    this.#scales = { cost: this.#rules.cost, countTokens, estimates: new OutputEstimates() }
    this.#store = store
  }

  get name(): string {
    return this.#options.name
  }

  get maxWaitMs(): number {
    return this.#options.maxWaitMs
  }

  /** Runs a call, immediately or when its turn comes. */
  run(next: Handler, request: unknown, context: Context): MaybePromise<unknown> {
    const key = keyOf(this.#options.by, request, context)
    if (key === undefined) return next(request, context)
    const call = this.#weigh(key, request, context)
    const ahead = this.#lines.get(key)?.ahead(context.priority) ?? NOTHING
    const decision = this.ask(call, ahead)
    context.meta.set(this.name, new Note(this.#store, key, this.#rules.of(key, context)))
    return isThenable(decision)
      ? decision.then((decided) => this.#decided(next, call, decided))
      : this.#decided(next, call, decision)
  }

  #weigh(key: string, request: unknown, context: Context): LimitedCall {
    const rules = this.#rules
    if (!rules.countsTokens) return new LimitedCall(this, key, request, context, undefined)
    const weight = new Weight(this.#scales, request, context, rules.of(key, context))
    if (weight.hasNoPrice) this.#reject(unknownPrice(this.name))
    return new LimitedCall(this, key, request, context, weight)
  }

  ask(call: LimitedCall, ahead: Amounts): MaybePromise<Reservation | Refusal> {
    const { key, amounts, context } = call
    return this.#paused() ?? this.#store.reserve(key, amounts, this.#rules.of(key, context), ahead)
  }

  #decided(
    next: Handler,
    call: LimitedCall,
    decision: Reservation | Refusal,
  ): MaybePromise<unknown> {
    if (decision.alone) this.#noteAlone(call)
    return decision.granted ? this.#begin(next, call, decision) : this.#wait(next, call, decision)
  }

  #begin(next: Handler, call: LimitedCall, reservation: Reservation): MaybePromise<unknown> {
    this.#admitted++
    return call.run(next, reservation)
  }

  /** Not `async`, because that would nearly double the memory of a waiting call. */
  #wait(next: Handler, call: LimitedCall, refusal: Refusal): Promise<unknown> {
    const since = now()
    const line = this.#admit(call, refusal, since)
    return line.wait(call, since, refusal).then(
      (reservation) => {
        this.#noteWait(call, since)
        if (reservation.alone) this.#noteAlone(call)
        return this.#begin(next, call, reservation)
      },
      (error) => {
        this.#noteWait(call, since)
        return this.#reject(error)
      },
    )
  }

  /** Returns the line to wait in. Rejects a call that may not wait, or would wait in vain. */
  #admit(call: LimitedCall, refusal: Refusal, since: number): WaitingLine {
    const { mode, maxWaiting } = this.#options
    const { key, context } = call
    const { unit, retryAfterMs } = refusal
    if (unit === 'cost') return this.#reject(outOfBudget(refusal, this.name))
    const mayWait = mode === 'wait' && !context.optional && Number.isFinite(retryAfterMs)
    if (!mayWait) return this.#reject(overLimit(refusal, this.name))
    const line = this.#lines.get(key) ?? new WaitingLine(key, this)
    if (line.waiting >= maxWaiting)
      return this.#reject(tooManyWaiting(refusal, this.name, maxWaiting))
    if (since + retryAfterMs >= line.limitOf(context, since))
      return this.#reject(tooLate(refusal, this.name))
    this.#lines.set(key, line)
    return line
  }

  #noteAlone({ context }: LimitedCall): void {
    const note = context.meta.get(this.name)
    if (note instanceof Note) note.alone = true
    context.trace?.alone(this.name)
  }

  #noteWait({ context }: LimitedCall, since: number): void {
    const note = context.meta.get(this.name)
    if (note instanceof Note) note.waitedMs = now() - since
  }

  #reject(error: unknown): never {
    this.#rejected++
    throw error
  }

  emptied({ key }: WaitingLine): void {
    this.#lines.delete(key)
  }

  giveBack({ key }: LimitedCall, reservation: Reservation): void {
    void this.#store.settle(reservation, NOTHING)
    this.#lines.get(key)?.serve()
  }

  settle(call: LimitedCall, reservation: Reservation, taken: Amounts): void {
    this.#settled++
    const spent = this.#store.settle(reservation, taken)
    if (spent !== undefined) void proceed(spent, (report) => this.#warn(call, report))
    // What was returned may be enough for the next call.
    if (this.#lines.size > 0) this.#lines.get(call.key)?.serve()
  }

  #warn({ context }: LimitedCall, report: Spent | undefined): void {
    if (report !== undefined)
      context.trace?.budget(this.name, context.tenant, report.spent, report.limit)
  }

  readPause({ context, request }: LimitedCall): void {
    const note = context.notes?.get(UPSTREAM_PAUSE)
    if (note === undefined) return
    // Outer rate limits do not represent upstream.
    context.meta.delete(UPSTREAM_PAUSE)
    // The map may be the caller's own and contain anything.
    const { until, unit } = (note ?? {}) as Partial<UpstreamPause>
    // Limits of an API key that came with the call itself do not affect other calls.
    if (typeof until !== 'number' || context.base.ownKey(request) === true) return
    const last = Math.min(until, now() + LONGEST_PAUSE_MS)
    if (last > (this.#pause?.until ?? now())) this.#pause = { until: last, unit }
  }

  /** Undefined while upstream accepts calls. */
  #paused(): Refusal | undefined {
    if (this.#pause === undefined) return undefined
    const { until, unit } = this.#pause
    const retryAfterMs = until - now()
    if (retryAfterMs > 0) return { granted: false, unit, rate: undefined, retryAfterMs }
    this.#pause = undefined
    return undefined
  }

  /** Keeps the levels, reduced to the new capacity. */
  set(change: RateLimitsChange): void {
    const given = Object.entries(change).filter(([, value]) => value !== undefined)
    this.#options = { ...this.#options, ...Object.fromEntries(given) }
    this.#rules = new LimitRules(this.#options)
    this.#scales = { ...this.#scales, cost: this.#rules.cost }
    for (const line of [...this.#lines.values()]) line.serve()
  }

  stats() {
    let waiting = 0
    for (const line of this.#lines.values()) waiting += line.waiting
    return {
      admitted: this.#admitted,
      rejected: this.#rejected,
      waiting,
      settled: this.#settled,
      keys: this.#store.keys,
    }
  }
}

/** The key of a call; undefined when it is not limited. */
function keyOf(by: By, request: unknown, context: Context): string | undefined {
  if (by === 'all') return ''
  if (by === 'model') return modelOf(request, context.base)
  if (by === 'tenant') {
    if (context.tenant === undefined)
      warn(
        'rateLimit: calls without a tenant share one limit. Pass "tenant" with each call, or set option "by".',
      )
    return context.tenant ?? ''
  }
  try {
    const key = atOnce(by(request, context))
    if (key === undefined || typeof key === 'string') return key
    throw new TypeError('by() must return a string or undefined.')
  } catch (error) {
    hookFailed('rateLimit: by()', error)
    // If calls cannot be distinguished they share one limit, rather than having none.
    return ''
  }
}
