import {
  ANSWERED_BY,
  type Context,
  Destination,
  isRecord,
  processWide,
  remaining,
} from '../../core/index.js'
import type { HedgeBudget } from './budget.js'
import type { Samples } from './samples.js'
import { Times } from './times.js'

export interface HedgesOptions {
  readonly name: string
  readonly delayMs: number | 'p95'
  readonly minDelayMs: number
  readonly maxDelayMs: number
  readonly to: readonly Destination[]
  readonly budget: HedgeBudget | undefined
}

/** The target of a second try, with the request for it. */
export interface Place {
  readonly destination: Destination
  readonly request: unknown
  readonly model: string | undefined
  /** Pool members that it must not use. */
  readonly elsewhere: readonly number[]
}

/** The base of the stack itself. */
const HERE = new Destination()

/**
 * Added to the 95th percentile, because a call that takes exactly as long as others is not slow.
 * Milliseconds.
 */
const BEYOND_MS = 1

/** Shared by all copies of the library, because a call may pass from one to another. */
const layers = processWide('hedge-layers', () => ({ count: 0 }))

/** One `hedge()`: decides when a call is slow, and whether and where it gets a second try. */
export class Hedges {
  /** Id of the layer, for `context.via`. */
  readonly id = `hedge${++layers.count}`
  readonly name: string
  readonly budget: HedgeBudget | undefined
  readonly stats = { hedged: 0, won: 0, lost: 0, refused: 0 }
  readonly #options: HedgesOptions
  readonly #times = new Times()
  /** Number of calls in progress. */
  #calls = 0

  constructor(options: HedgesOptions) {
    this.name = options.name
    this.budget = options.budget
    this.#options = options
  }

  /** The durations of calls like this one. */
  timesOf(request: unknown, { base }: Context): Samples {
    return this.#times.of(request, base)
  }

  /** After how long a call is slow; undefined while unknown. Milliseconds. */
  delayOf(times: Samples): number | undefined {
    const { delayMs, minDelayMs, maxDelayMs } = this.#options
    if (delayMs !== 'p95') return delayMs
    const p95 = times.quantile(0.95)
    return p95 && Math.min(maxDelayMs, Math.max(minDelayMs, p95 + BEYOND_MS))
  }

  begin(): void {
    this.#calls++
  }

  end(isSuccess: boolean): void {
    this.#calls--
    if (isSuccess) this.budget?.succeeded()
  }

  /**
   * Selects the target of a second try; undefined when there is none.
   * @param notes notes of the first try
   */
  placeFor(
    request: unknown,
    context: Context,
    notes: ReadonlyMap<string, unknown>,
  ): Place | undefined {
    const { to } = this.#options
    const model = context.base.model?.(request)
    if (to.length === 0) return anotherMember(request, context, notes, model)
    const hasOwnKey = context.base.ownKey(request) === true
    for (const destination of to) {
      // Another account does not pay for a call that brings its own API key.
      if (destination.isElsewhere ? hasOwnKey : destination.model === model) continue
      const asked = destination.requestFor(request, context)
      if (asked !== undefined)
        return { destination, ...asked, model: destination.model ?? model, elsewhere: [] }
    }
    return undefined
  }

  /** Takes one from each budget, if both allow it and enough time is left. */
  take(times: Samples, context: Context): boolean {
    if (remaining(context) < (times.quantile(0.5) ?? 0)) return false
    if (this.budget?.take(this.#calls) === false) return false
    if (context.retryBudget?.take() !== false) return true
    this.budget?.end(true)
    return false
  }

  /**
   * A second try has ended. If it was rejected before it ran, its place in the budgets is returned.
   */
  secondEnded(wasRefused: boolean, { retryBudget }: Context): void {
    this.budget?.end(wasRefused)
    if (wasRefused) retryBudget?.giveBack()
  }
}

function anotherMember(
  request: unknown,
  context: Context,
  notes: ReadonlyMap<string, unknown>,
  model: string | undefined,
): Place | undefined {
  const by = notes.get(ANSWERED_BY)
  const member = isRecord(by) && typeof by.member === 'number' ? by.member : undefined
  // Upstream would join a second request to the first, so only another target is useful.
  if (member === undefined && context.base.joins(request)) return undefined
  const elsewhere = member === undefined ? context.elsewhere : [...context.elsewhere, member]
  return { destination: HERE, request, model, elsewhere }
}

/** Whether the request has a key. Only then it may be sent twice. */
export function hasIdentity(request: unknown, context: Context): boolean {
  try {
    return typeof context.keyOf(request, 'dedupe') === 'string'
  } catch {
    return false
  }
}
