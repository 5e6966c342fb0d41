import type { BaseFacts, TokenUsage } from '../../../core/index.js'

/**
 * What tokens cost beside each other: output is made one by one, and what a provider has in its
 * cache costs a tenth. The weights of VTC, https://arxiv.org/abs/2401.00588.
 */
const CACHED_INPUT = 0.1
const OUTPUT = 2

/** Tokens of an answer while none is known. */
const FIRST_OUTPUT = 256
/** How many answers the mean goes back. */
const KEPT = 20

/** What calls cost: expected when they come, and counted when they have ended. */
export class Service {
  #outputs = 0
  #meanOutput = FIRST_OUTPUT
  #calls = 0
  /** The mean of what calls were expected to cost. */
  usual = 1

  /** What a call will cost. */
  expected({ countsTokens, weigh }: BaseFacts, request: unknown): number {
    const service = countsTokens ? this.#byTokens(weigh(request)) : 1
    this.usual += (service - this.usual) / Math.min(++this.#calls, KEPT)
    return service
  }

  #byTokens(tokens: ReturnType<BaseFacts['weigh']>): number {
    const { input = 0, output = Number.POSITIVE_INFINITY } = tokens ?? {}
    return serviceOf({ input, output: Math.min(output, this.#meanOutput) })
  }

  /** What a call has cost. */
  counted(usage: TokenUsage): number {
    this.#meanOutput += (usage.output - this.#meanOutput) / Math.min(++this.#outputs, KEPT)
    return serviceOf(usage)
  }
}

/** At least 1: who is charged nothing would be next for ever. */
function serviceOf({ input, output, cachedInput = 0 }: TokenUsage): number {
  return Math.max(1, input - (1 - CACHED_INPUT) * cachedInput + OUTPUT * output)
}
