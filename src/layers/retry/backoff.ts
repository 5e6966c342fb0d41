import { atOnce, hookFailed } from '../../core/index.js'

export interface BackoffOptions {
  minDelayMs: number
  maxDelayMs: number
  random: () => number
}

/** Limits the exponent: larger powers make no difference, and finally overflow to `Infinity`. */
const HIGHEST_POWER = 1_000

/**
 * Delay before the retry after `attempt` failures: random, evenly distributed from 0 to min(cap,
 * base × 2^(attempt − 1)). Milliseconds.
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ "full jitter";
 * base 0.5 s and cap 8 s as in openai-node
 */
export function fullJitter(
  attempt: number,
  { minDelayMs, maxDelayMs, random }: BackoffOptions,
): number {
  const power = Math.min(attempt - 1, HIGHEST_POWER)
  return random() * Math.min(maxDelayMs, minDelayMs * 2 ** power)
}

/**
 * Wraps the source of jitter. If it throws or returns an invalid number, a warning is emitted and
 * `Math.random()` is used.
 */
export function jitterFrom(random: (() => number) | undefined): () => number {
  if (random === undefined) return Math.random
  return () => {
    try {
      const drawn = atOnce(random())
      if (drawn >= 0 && drawn <= 1) return drawn
      throw new RangeError('random() must return a number from 0 to below 1.')
    } catch (error) {
      hookFailed('retry: random()', error)
      return Math.random()
    }
  }
}
