import { isError } from '../../core/index.js'

/**
 * Longer chains are not extended. Otherwise, an error object that a function throws repeatedly
 * would collect all earlier errors.
 */
const LONGEST = 16

/**
 * Appends an error to the `cause` chain of a later one. Does nothing for a value that is not an
 * error, is frozen, or already has the earlier error in its chain.
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
    // The error is frozen.
  }
}

/** An error and its causes, up to the first that is not an error. */
function chainOf(error: unknown): Error[] {
  const chain: Error[] = []
  for (let link = error; isError(link) && chain.length <= LONGEST; link = link.cause) {
    if (chain.includes(link)) break
    chain.push(link)
  }
  return chain
}
