import {
  atOnce,
  type BaseFacts,
  type Context,
  hookFailed,
  type TokenUsage,
} from '../../core/index.js'
import type { OutputEstimates } from './estimates.js'
import { type Amounts, type CostRule, countable, isAmount, type Limits } from './limits.js'

/**
 * An estimated output takes at most this share of a limit, so that one long estimate does not empty
 * the bucket for all calls that follow.
 */
const LARGEST_ESTIMATE = 1 / 4

/** What `Weight` needs to estimate the calls of one `rateLimit()`. */
export interface Scales {
  readonly cost: CostRule | undefined
  readonly countTokens: ((request: unknown) => number) | undefined
  readonly estimates: OutputEstimates
}

/** The estimate for one call, and the calculation of its actual amounts. */
export class Weight {
  /** Tokens of the request. */
  readonly input: number
  /** Maximum tokens of the answer that the request allows; `Infinity` if it has none. */
  readonly allowedOutput: number
  readonly amounts: Amounts
  /** The requested model; from the answer on, the model that answered. */
  model: string
  readonly #scales: Scales
  /** Undefined for a call that brings its own API key. */
  readonly #cost: CostRule | undefined
  /** In millionths; undefined when the price is unknown. */
  readonly #reserved: number | undefined

  constructor(scales: Scales, request: unknown, { base }: Context, limits: Limits) {
    this.#scales = scales
    this.#cost = base.ownKey(request) === true ? undefined : scales.cost
    this.model = modelOf(request, base)
    const weighed = base.weigh(request)
    this.input = countable(counted(scales.countTokens, request) ?? amountOf(weighed?.input) ?? 0)
    const allowed = amountOf(weighed?.output)
    this.allowedOutput = allowed ?? Number.POSITIVE_INFINITY
    const estimate = allowed ?? scales.estimates.of(this.model)
    const cap = limits.tokens === undefined ? Number.POSITIVE_INFINITY : limits.tokens.limit
    const output = allowed ?? Math.min(estimate, cap * LARGEST_ESTIMATE)
    this.#reserved =
      this.#cost === undefined ? 0 : this.#price({ input: this.input, output: countable(estimate) })
    this.amounts = {
      requests: 1,
      tokens: countable(this.input + output),
      cost: this.#reserved ?? 0,
    }
  }

  /** Whether the price is unknown, so that the call must not run. */
  get hasNoPrice(): boolean {
    return this.#reserved === undefined
  }

  /** The amounts of a call that used these tokens. */
  taken(usage: TokenUsage): Amounts {
    const { requests, cost } = this.amounts
    const tokens = countable(usage.input + usage.output)
    return { requests, tokens, cost: this.#price(usage) ?? cost }
  }

  /** Records the length of the answer. */
  learn(output: number): void {
    this.#scales.estimates.add(this.model, output)
  }

  #price(usage: TokenUsage): number | undefined {
    if (this.#cost === undefined) return 0
    return this.#cost.price(this.model, usage) ?? (this.#cost.refusesUnknown ? undefined : 0)
  }
}

/** The model that answers a request; empty when the base does not know it. */
export function modelOf(request: unknown, { model }: BaseFacts): string {
  const name: unknown = model?.(request)
  return typeof name === 'string' ? name : ''
}

const amountOf = (value: unknown): number | undefined => (isAmount(value) ? value : undefined)

/** The tokens of a request as counted by the user; undefined when unknown. */
function counted(count: Scales['countTokens'], request: unknown): number | undefined {
  if (count === undefined) return undefined
  try {
    const tokens = atOnce(count(request))
    if (isAmount(tokens)) return tokens
    throw new TypeError('countTokens() must return a number of at least 0.')
  } catch (error) {
    hookFailed('rateLimit: countTokens()', error)
    return undefined
  }
}
