import { BudgetError, RateLimitError } from '../../core/index.js'
import type { Refusal } from './store.js'

const inWhole = (ms: number): number => Math.ceil(ms)

/** Describes what a limit allows: in an interval and, if that is less, at once. */
function allowed({ unit, rate }: Refusal): string {
  if (rate === undefined) return "upstream's limit is used up"
  const { intervalMs, capacity } = rate
  // The share of one process may be any fraction.
  const limit = Number(rate.limit.toFixed(2))
  const what = limit === 1 ? unit?.slice(0, -1) : unit
  const burst = Math.floor(capacity)
  const atOnce = burst < limit ? `, at most ${burst} at once` : ''
  return `the limit is ${limit} ${what} per ${inWhole(intervalMs)} ms${atOnce}`
}

function rateLimitError(refusal: Refusal, layer: string, why: string, cause?: unknown) {
  const { unit, rate, retryAfterMs } = refusal
  const isEver = Number.isFinite(retryAfterMs)
  const then = isEver ? ` Retry after ${inWhole(retryAfterMs)} ms.` : ''
  return new RateLimitError(`${why}: ${allowed(refusal)}.${then}`, {
    layer,
    refused: true,
    retryAfter: isEver ? retryAfterMs : undefined,
    limit: rate?.limit,
    unit: unit === 'cost' ? undefined : unit,
    ...(cause === undefined ? {} : { cause }),
  })
}

/** The call would have to wait, and must not. */
export const overLimit = (refusal: Refusal, layer: string): Error =>
  rateLimitError(refusal, layer, 'Rejected')

/** Too many calls are waiting. */
export const tooManyWaiting = (refusal: Refusal, layer: string, maxWaiting: number): Error =>
  rateLimitError(
    refusal,
    layer,
    `Rejected because the maximum number of waiting calls (maxWaiting: ${maxWaiting}) is reached`,
  )

/** The call would wait longer than it may. */
export const tooLate = (refusal: Refusal, layer: string): Error =>
  rateLimitError(refusal, layer, "Rejected because the call's turn would come too late")

/** The call has waited as long as it may. */
export const waitedTooLong = (
  refusal: Refusal,
  layer: string,
  waitedMs: number,
  cause: unknown,
): Error => rateLimitError(refusal, layer, `Rejected after waiting ${inWhole(waitedMs)} ms`, cause)

/**
 * The `cost` limit is used up. The message contains no amounts, which are the operator's business.
 */
export function outOfBudget({ retryAfterMs }: Refusal, layer: string): Error {
  const isEver = Number.isFinite(retryAfterMs)
  const sentence = isEver
    ? `Rejected: the cost limit is used up. Retry after ${inWhole(retryAfterMs)} ms.`
    : 'Rejected: this call may cost more than the whole cost limit. Allow fewer tokens, or raise the limit.'
  return new BudgetError(sentence, { layer, retryAfter: isEver ? retryAfterMs : undefined })
}

/** The price of the call is unknown. */
export const unknownPrice = (layer: string): Error =>
  new BudgetError(
    "Rejected: the price of this model is unknown. Return it from cost.price, or set onUnknownPrice: 'zero'.",
    { layer },
  )
