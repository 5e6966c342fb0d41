import { ConfigError, isBytes } from '../core/index.js'

/**
 * Joins surrogate pairs that are split between two chunks. The first half is held back until the
 * second arrives; encoding them separately would produce two invalid characters.
 * @see https://encoding.spec.whatwg.org/#interface-textencoderstream which does the same
 * @internal
 */
export class Surrogates {
  #held = ''

  /** The text to encode now; may be empty. */
  join(text: string): string {
    // An empty chunk must not release the held half.
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

  /** The held half, if its second half never arrived. */
  rest(): string {
    const rest = this.#held
    this.#held = ''
    return rest
  }
}

/**
 * A chunk as text or bytes: a string, bytes, or the text of an object `{ text }`, which
 * `text.stream()` yields; `undefined` for anything else.
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
    `${subject}: each chunk must be a string, a Uint8Array or { text }, got ${what}. Convert the stream with toServerSentEvents() or toNdjson() first, or set objectMode.`,
    { layer: subject },
  )
}
