import { isError } from '../../core/index.js'

/**
 * Longer chains grow no more: an error that a function throws again and again would collect all
 * that ever came before it.
 */
const LONGEST = 16

/**
 * Puts an error at the end of the `cause` chain of the one that came after it. What is no error, is
 * frozen, or has the other in its chain already, stays as it is.
 */
export function addCause(error: unknown, before: unknown): void {
  const chain = chainOf(error)
  const earlier = chainOf(before)
  const last = chain.at(-1)
  if (last === undefined || chain.length + earlier.length > LONGEST) return
  if (last.cause !== undefined || chain.some((link) => earlier.includes(link))) return
  try {
    Object.defineProperty(last, 'cause', { value: before, configurable: true, writable: true })
  } catch {
    // Frozen.
  }
}

/** An error and its causes, as far as these are errors. */
function chainOf(error: unknown): Error[] {
  const chain: Error[] = []
  for (let link = error; isError(link) && chain.length <= LONGEST; link = link.cause) {
    if (chain.includes(link)) break
    chain.push(link)
  }
  return chain
}
