import { ConfigError, isBytes } from '../core/index.js'

/**
 * Keeps a character that two chunks share from being encoded as two broken ones: the first half
 * waits for the second.
 * @see https://encoding.spec.whatwg.org/#interface-textencoderstream which does the same
 * @internal
 */
export class Surrogates {
  #held = ''

  /** The text to encode now; perhaps empty. */
  join(text: string): string {
    // An empty chunk must not push out what waits.
    if (text === '') return text
    const whole = this.#held + text
    const last = whole.charCodeAt(whole.length - 1)
    if (last >= 0xd800 && last <= 0xdbff) {
      this.#held = whole.slice(-1)
      return whole.slice(0, -1)
    }
    this.#held = ''
    return whole
  }

  /** What never got its second half. */
  rest(): string {
    const rest = this.#held
    this.#held = ''
    return rest
  }
}

/**
 * A chunk as text or bytes: strings, bytes, and the text of pieces `{ text }`, as `text.stream()`
 * gives them; `undefined` for anything else.
 * @internal
 */
export function writable(chunk: unknown): string | Uint8Array | undefined {
  if (typeof chunk === 'string' || isBytes(chunk)) return chunk
  const text = (chunk as { text?: unknown } | null | undefined)?.text
  return typeof text === 'string' ? text : undefined
}

/**
 * The error for a chunk that cannot be written as bytes.
 * @internal
 */
export function wrongChunk(subject: string, chunk: unknown): ConfigError {
  const what = chunk === null ? 'null' : typeof chunk
  return new ConfigError(
    `${subject}: a chunk must be a string, a Uint8Array or { text }, got ${what}; use toServerSentEvents or toNdjson first, or objectMode.`,
    { layer: subject },
  )
}
