import type { TokenUsage } from '../../core/index.js'
import type { LimitCostOptions } from '../../layers/rate-limit/index.js'

/** What may be spent in a calendar day or month, in UTC. */
export type Budget = Pick<LimitCostOptions, 'per'> & { readonly limit: number }

/** What a million tokens cost. */
export interface Price {
  readonly input: number
  readonly output: number
  /** Of the input, what upstream had in a cache. */
  readonly cachedInput: number
}

/** Of the limits' unit there are no smaller parts than millionths. */
const AMOUNT = String.raw`\d{1,9}(?:\.\d{1,6})?`
const BUDGET = new RegExp(`^(${AMOUNT})/(day|month)$`)
const PRICE = new RegExp(`^(${AMOUNT})/(${AMOUNT})(?:/(${AMOUNT}))?$`)

const PER_TOKEN = 1e-6

/** Reads `5/day`; undefined when it is none, or nothing. */
export function readBudget(text: string): Budget | undefined {
  const [, amount, per] = BUDGET.exec(text) ?? []
  const limit = Number(amount)
  return limit > 0 ? { limit, per: per as 'day' | 'month' } : undefined
}

/** Reads `0.15/0.6` or `0.15/0.6/0.075`: input, output, and cached input, by default as input. */
export function readPrice(text: string): Price | undefined {
  const [match, input, output, cachedInput = input] = PRICE.exec(text) ?? []
  if (match === undefined) return undefined
  return { input: Number(input), output: Number(output), cachedInput: Number(cachedInput) }
}

/** What tokens of a model cost. The model `*` has the price of all others. */
export const priceBy =
  (prices: ReadonlyMap<string, Price> = new Map()): LimitCostOptions['price'] =>
  (model, tokens) => {
    const price = prices.get(model) ?? prices.get('*')
    return price && amountOf(price, tokens)
  }

/** A budget as the option `cost` of `rateLimit()`. */
export const costOf = (
  budget: Budget | undefined,
  prices: ReadonlyMap<string, Price> | undefined,
): LimitCostOptions | undefined => budget && { ...budget, price: priceBy(prices) }

function amountOf(price: Price, { input, output, cachedInput = 0 }: TokenUsage): number {
  const cached = Math.min(cachedInput, input)
  const amount = (input - cached) * price.input + cached * price.cachedInput + output * price.output
  return amount * PER_TOKEN
}
