export interface BackoffOptions {
  minDelayMs: number
  maxDelayMs: number
  random: () => number
}

/**
 * Delay before repeating a call that has failed `attempt` times: drawn evenly from 0 to min(cap,
 * base × 2^(attempt − 1)). Milliseconds.
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ "full jitter";
 * base 0.5 s and cap 8 s as in openai-node
 */
export function fullJitter(
  attempt: number,
  { minDelayMs, maxDelayMs, random }: BackoffOptions,
): number {
  return random() * Math.min(maxDelayMs, minDelayMs * 2 ** (attempt - 1))
}
