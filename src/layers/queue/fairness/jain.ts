/**
 * Jain's fairness index: 1 when all have the same, 1 / n when one of n has everything.
 * https://arxiv.org/abs/cs/9809099
 */
export function jainIndex(shares: readonly number[]): number {
  const most = shares.reduce((most, share) => Math.max(most, share), 0)
  if (most === 0) return 1
  let sum = 0
  let squares = 0
  for (const share of shares) {
    // Normalized, because squares of charges could exceed the range of a number.
    const part = share / most
    sum += part
    squares += part * part
  }
  return (sum * sum) / (shares.length * squares)
}
