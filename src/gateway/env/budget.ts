import type { TokenUsage } from '../../core/index.js'
import type { LimitCostOptions } from '../../layers/rate-limit/index.js'

/** The maximum cost in a calendar day or month, in UTC. */
export type Budget = Pick<LimitCostOptions, 'per'> & { readonly limit: number }

/** Prices of a million tokens. */
export interface Price {
  readonly input: number
  readonly output: number
  /** Price of input tokens that upstream had in its cache. */
  readonly cachedInput: number
}

/** An amount with at most six decimals, the precision of cost limits. */
const AMOUNT = String.raw`\d{1,9}(?:\.\d{1,6})?`
const BUDGET = new RegExp(`^(${AMOUNT})/(day|month)$`)
const PRICE = new RegExp(`^(${AMOUNT})/(${AMOUNT})(?:/(${AMOUNT}))?$`)

const PER_TOKEN = 1e-6

/** Reads a budget such as `5/day`; `undefined` if it is invalid or 0. */
export function readBudget(text: string): Budget | undefined {
  const [, amount, per] = BUDGET.exec(text) ?? []
  const limit = Number(amount)
  return limit > 0 ? { limit, per: per as 'day' | 'month' } : undefined
}

/**
 * Reads the prices `input/output` or `input/output/cached input`; the last defaults to the first.
 */
export function readPrice(text: string): Price | undefined {
  const [match, input, output, cachedInput = input] = PRICE.exec(text) ?? []
  if (match === undefined) return undefined
  return { input: Number(input), output: Number(output), cachedInput: Number(cachedInput) }
}

/** Returns the cost of a model's tokens. The entry `*` is the price of all models not listed. */
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
