/** Maximum nesting. Real requests need a few dozen levels, for tool schemas. */
const DEEPEST = 500

const [QUOTE, BACKSLASH, OPEN_LIST, OPEN_OBJECT, CLOSE_LIST, CLOSE_OBJECT] = [
  ...Buffer.from('"\\[{]}'),
] as [number, number, number, number, number, number]

/**
 * Whether JSON is nested too deeply to parse. A megabyte of brackets takes half a second to parse,
 * and recursive code overflows the stack on the result. Works on bytes: in UTF-8, no part of a
 * non-ASCII character equals a bracket or a quote.
 */
export function isTooDeep(bytes: Uint8Array): boolean {
  if (bytes.length <= 2 * DEEPEST) return false
  let depth = 0
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (byte === QUOTE) {
      // An image is one string of megabytes, for which `indexOf` is a hundred times faster.
      i = endOfString(bytes, i)
      if (i === -1) return false
    } else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++depth > DEEPEST) return true
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--
  }
  return false
}

/** The first characters are scanned in a loop: for short strings `indexOf` is slower. */
const SHORT = 64

/** Index of the quote that ends a string; -1 if there is none. */
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

/** Whether a quote is escaped: preceded by an odd number of backslashes, counted from `start`. */
function isEscaped(bytes: Uint8Array, at: number, start: number): boolean {
  let before = at - 1
  while (before >= start && bytes[before] === BACKSLASH) before--
  return (at - before) % 2 === 0
}
