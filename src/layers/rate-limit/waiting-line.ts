import {
  type Context,
  deadlines,
  type Expiring,
  isThenable,
  LinkedList,
  NOT_WAITING,
  now,
} from '../../core/index.js'
import { giveUpAt } from '../waiting-call.js'
import type { LimitedCall } from './limited-call.js'
import { type Amounts, NOTHING } from './limits.js'
import { outOfBudget, overLimit } from './refusals.js'
import type { LimitStore, Refusal, Reservation } from './store.js'
import { type Line, Waiter } from './waiter.js'

/** What a line needs from its limits. */
export interface LineLimits {
  /** Name of the layer. */
  readonly name: string
  readonly maxWaitMs: number
  /** Asks for what a call takes, behind calls that take `ahead`. */
  ask(call: LimitedCall, ahead: Amounts): ReturnType<LimitStore['reserve']>
  /** Returns what was granted to a call that has left. */
  giveBack(call: LimitedCall, reservation: Reservation): void
  /** The last call has left. */
  emptied(line: WaitingLine): void
}

/**
 * The waiting calls of one key: higher priority first, then in order of arrival. Only the first
 * call asks for what it takes, so a smaller one never overtakes it.
 */
export class WaitingLine implements Expiring, Line {
  deadlineSlot = NOT_WAITING
  readonly key: string
  waiting = 0
  readonly #limits: LineLimits
  /** Highest priority first. No band is empty. */
  readonly #bands: Band[] = []
  #isAsking = false
  /** Why the first call waits. */
  #refusal: Refusal | undefined
  #dueAt = 0

  constructor(key: string, limits: LineLimits) {
    this.key = key
    this.#limits = limits
  }

  get layer(): string {
    return this.#limits.name
  }

  get maxWaitMs(): number {
    return this.#limits.maxWaitMs
  }

  /** What the calls in front of a new call of this priority take. */
  ahead(priority: number): Amounts {
    let requests = 0
    let tokens = 0
    for (const band of this.#bands) {
      if (band.priority < priority) break
      requests += band.requests
      tokens += band.tokens
    }
    return requests === 0 ? NOTHING : { requests, tokens, cost: 0 }
  }

  /** When a call that has waited since `since` gives up. */
  limitOf(context: Context, since: number): number {
    return giveUpAt(context, since, this.maxWaitMs)
  }

  /**
   * Resolves with the reservation when the call's turn has come. Rejects, and leaves the line, when
   * the call is aborted, has waited too long, or its stack closes.
   */
  wait(call: LimitedCall, since: number, refusal: Refusal): Promise<Reservation> {
    return new Promise((resolve, reject) => {
      const waiter = new Waiter(this, call, since, resolve, reject)
      this.#bandOf(call.context.priority).add(waiter)
      this.waiting++
      if (this.#first === waiter && !this.#isAsking) this.#wake(refusal)
      waiter.watch()
    })
  }

  /** Lets calls go whose turn has come. */
  serve(): void {
    while (!this.#isAsking) {
      const first = this.#first
      // Calls learn one after another that their stack closes. This one is about to leave; then the
      // next is asked.
      if (first === undefined || first.context.closing.aborted) return
      const decision = this.#limits.ask(first.call, NOTHING)
      if (isThenable(decision)) this.#serveLater(first, decision)
      else if (!this.#decide(first, decision)) return
    }
  }

  #serveLater(first: Waiter, decision: PromiseLike<Reservation | Refusal>): void {
    this.#isAsking = true
    void decision.then((decided) => {
      this.#isAsking = false
      if (this.#decide(first, decided)) this.serve()
    })
  }

  /** Returns whether the next call may ask. */
  #decide(first: Waiter, decision: Reservation | Refusal): boolean {
    if (decision.granted) {
      if (first.isWaiting) first.admit(decision)
      else this.#limits.giveBack(first.call, decision)
      return true
    }
    // It may have left, or another call may have come in front of it.
    if (first !== this.#first) return true
    const { unit, retryAfterMs } = decision
    if (unit === 'cost') first.fail(outOfBudget(decision, this.layer))
    else if (retryAfterMs === Number.POSITIVE_INFINITY) first.fail(overLimit(decision, this.layer))
    else {
      this.#wake(decision)
      return false
    }
    return true
  }

  #wake(refusal: Refusal): void {
    this.#refusal = refusal
    this.#dueAt = now() + refusal.retryAfterMs
    deadlines.set(this, this.#dueAt)
  }

  /** The first call's turn may have come. */
  expire(): void {
    this.serve()
  }

  /** Why, and at least for how much longer, a call waits. */
  get refusal(): Refusal {
    const { unit, rate } = this.#refusal as Refusal
    return { granted: false, unit, rate, retryAfterMs: Math.max(1, this.#dueAt - now()) }
  }

  /** Returns whether the next call must ask, because the first one has left. @internal */
  leave(waiter: Waiter): boolean {
    const wasFirst = this.#first === waiter
    const at = this.#bands.findIndex(({ priority }) => priority === waiter.context.priority)
    const band = this.#bands[at] as Band
    band.remove(waiter)
    if (band.requests === 0) this.#bands.splice(at, 1)
    if (--this.waiting > 0) return wasFirst
    deadlines.clear(this)
    this.#limits.emptied(this)
    return false
  }

  get #first(): Waiter | undefined {
    return this.#bands[0]?.first
  }

  #bandOf(priority: number): Band {
    let at = 0
    while (at < this.#bands.length && (this.#bands[at] as Band).priority > priority) at++
    const found = this.#bands[at]
    if (found?.priority === priority) return found
    const band = new Band(priority)
    this.#bands.splice(at, 0, band)
    return band
  }
}

/** The waiting calls of one priority, in order of arrival, and what they take together. */
class Band {
  readonly priority: number
  requests = 0
  tokens = 0
  readonly #line = new LinkedList<Waiter>()

  constructor(priority: number) {
    this.priority = priority
  }

  get first(): Waiter {
    return this.#line.first as Waiter
  }

  add(waiter: Waiter): void {
    this.#line.add(waiter)
    this.requests++
    this.tokens += waiter.call.amounts.tokens
  }

  remove(waiter: Waiter): void {
    this.#line.remove(waiter)
    this.requests--
    this.tokens -= waiter.call.amounts.tokens
  }
}
