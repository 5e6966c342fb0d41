/** More is no request that anybody means. Tool schemas need a few dozen. */
const DEEPEST = 500

const [QUOTE, BACKSLASH, OPEN_LIST, OPEN_OBJECT, CLOSE_LIST, CLOSE_OBJECT] = [
  ...Buffer.from('"\\[{]}'),
]

/**
 * Whether JSON is nested too deep to be worth parsing: half a second for a megabyte of brackets,
 * and whoever walks the result runs out of stack. Bytes of UTF-8 beyond ASCII are never mistaken
 * for a bracket or a quote.
 */
export function isTooDeep(bytes: Uint8Array): boolean {
  if (bytes.length <= 2 * DEEPEST) return false
  let depth = 0
  let quoted = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (quoted) {
      if (byte === BACKSLASH) i++
      else if (byte === QUOTE) quoted = false
    } else if (byte === QUOTE) quoted = true
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++depth > DEEPEST) return true
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--
  }
  return false
}
