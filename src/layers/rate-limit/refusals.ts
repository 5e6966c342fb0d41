import { BudgetError, RateLimitError } from '../../core/index.js'
import type { Refusal } from './store.js'

const inWhole = (ms: number): number => Math.ceil(ms)

/** Describes what a limit allows. */
function allowed({ unit, rate }: Refusal): string {
  return rate === undefined
    ? 'what upstream allows at the moment is used up'
    : `${rate.limit} ${unit} in ${inWhole(rate.intervalMs)} ms are allowed`
}

function rateLimitError(refusal: Refusal, layer: string, why: string, cause?: unknown) {
  const { unit, rate, retryAfterMs } = refusal
  const isEver = Number.isFinite(retryAfterMs)
  const then = isEver ? `; try again in ${inWhole(retryAfterMs)} ms.` : '.'
  return new RateLimitError(`${why}: ${allowed(refusal)}${then}`, {
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
  rateLimitError(refusal, layer, 'The call was refused')

/** Too many calls are waiting. */
export const tooManyWaiting = (refusal: Refusal, layer: string, maxWaiting: number): Error =>
  rateLimitError(refusal, layer, `The call was refused, as ${maxWaiting} wait already`)

/** The call would wait longer than it may. */
export const tooLate = (refusal: Refusal, layer: string): Error =>
  rateLimitError(refusal, layer, 'The call was refused, as its turn would come too late')

/** The call has waited as long as it may. */
export const waitedTooLong = (
  refusal: Refusal,
  layer: string,
  waitedMs: number,
  cause: unknown,
): Error =>
  rateLimitError(refusal, layer, `The call waited ${inWhole(waitedMs)} ms and never ran`, cause)

/**
 * The `cost` limit is used up. The message contains no amounts, which are the operator's business.
 */
export function outOfBudget({ retryAfterMs }: Refusal, layer: string): Error {
  const isEver = Number.isFinite(retryAfterMs)
  const sentence = isEver
    ? `The budget for calls is used up; it begins anew in ${inWhole(retryAfterMs)} ms.`
    : 'The call may cost more than the whole budget for calls.'
  return new BudgetError(sentence, { layer, retryAfter: isEver ? retryAfterMs : undefined })
}

/** The price of the call is unknown. */
export const unknownPrice = (layer: string): Error =>
  new BudgetError('The call was refused, as the price of its model is not known.', { layer })
