/** More is no request that anybody means. Tool schemas need a few dozen. */
const DEEPEST = 500

const [QUOTE, BACKSLASH, OPEN_LIST, OPEN_OBJECT, CLOSE_LIST, CLOSE_OBJECT] = [
  ...Buffer.from('"\\[{]}'),
] as [number, number, number, number, number, number]

/**
 * Whether JSON is nested too deep to be worth parsing: half a second for a megabyte of brackets,
 * and whoever walks the result runs out of stack. Bytes of UTF-8 beyond ASCII are never mistaken
 * for a bracket or a quote.
 */
export function isTooDeep(bytes: Uint8Array): boolean {
  if (bytes.length <= 2 * DEEPEST) return false
  let depth = 0
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (byte === QUOTE) {
      // A picture is one string of megabytes, in which `indexOf` is a hundred times faster.
      i = endOfString(bytes, i)
      if (i === -1) return false
    } else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++depth > DEEPEST) return true
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--
  }
  return false
}

/** Strings shorter than this are walked through: a call of `indexOf` would cost more. */
const SHORT = 64

/** The place of the quote that ends a string; -1 if none does. */
function endOfString(bytes: Uint8Array, start: number): number {
  const walked = Math.min(start + SHORT, bytes.length)
  let i = start + 1
  for (; i < walked; i++) {
    if (bytes[i] === BACKSLASH) i++
    else if (bytes[i] === QUOTE) return i
  }
  let end = bytes.indexOf(QUOTE, i)
  while (end !== -1 && isEscaped(bytes, end, i)) end = bytes.indexOf(QUOTE, end + 1)
  return end
}

/** Whether an odd number of backslashes stands before a quote, none of them before `start`. */
function isEscaped(bytes: Uint8Array, at: number, start: number): boolean {
  let before = at - 1
  while (before >= start && bytes[before] === BACKSLASH) before--
  return (at - before) % 2 === 0
}
