import type { BaseFacts, TokenUsage } from '../../../core/index.js'

/**
 * Relative costs of tokens: output is generated token by token, and input from a provider's cache
 * costs a tenth. These are the weights of VTC, https://arxiv.org/abs/2401.00588.
 */
const CACHED_INPUT = 0.1
const OUTPUT = 2

/** Assumed length of an answer while none is known. Tokens. */
const FIRST_OUTPUT = 256
/** How many answers the mean covers. */
const KEPT = 20

/** Cost of calls: estimated on arrival, counted at the end. */
export class Service {
  #outputs = 0
  #meanOutput = FIRST_OUTPUT
  #calls = 0
  /** Mean of the estimated costs. */
  usual = 1

  /** Estimates the cost of a call. */
  expected({ countsTokens, weigh }: BaseFacts, request: unknown): number {
    const service = countsTokens ? this.#byTokens(weigh(request)) : 1
    this.usual += (service - this.usual) / Math.min(++this.#calls, KEPT)
    return service
  }

  #byTokens(tokens: ReturnType<BaseFacts['weigh']>): number {
    const { input = 0, output = Number.POSITIVE_INFINITY } = tokens ?? {}
    return serviceOf({ input, output: Math.min(output, this.#meanOutput) })
  }

  /** Counts the actual cost of a call. */
  counted(usage: TokenUsage): number {
    this.#meanOutput += (usage.output - this.#meanOutput) / Math.min(++this.#outputs, KEPT)
    return serviceOf(usage)
  }
}

/** At least 1, because a tenant that is charged nothing would always be next. */
function serviceOf({ input, output, cachedInput = 0 }: TokenUsage): number {
  return Math.max(1, input - (1 - CACHED_INPUT) * cachedInput + OUTPUT * output)
}
