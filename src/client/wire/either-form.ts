import type { BodyContext, BodyReader } from './body.js'
import { EventStream } from './event-stream.js'
import { WholeAnswer } from './whole-answer.js'

/** Maximum number of leading blanks and byte order marks to skip before choosing. Bytes. */
const LONGEST_BLANK = 1_024

/**
 * Reads the answer to a streaming request as JSON or as events, decided by its first character. The
 * content type is unreliable: proxies label events as JSON, and servers label JSON as events.
 */
export class EitherForm implements BodyReader {
  readonly #exchange: BodyContext
  readonly #status: number
  readonly #isLabelledJson: boolean
  #blank: Buffer | undefined
  #reader: BodyReader | undefined

  constructor(exchange: BodyContext, status: number, isLabelledJson: boolean) {
    this.#exchange = exchange
    this.#status = status
    this.#isLabelledJson = isLabelledJson
  }

  data(bytes: Buffer): void {
    if (this.#reader !== undefined) return this.#reader.data(bytes)
    if (this.#exchange.isSettled) return
    const begun = this.#blank === undefined ? bytes : Buffer.concat([this.#blank, bytes])
    const first = firstByte(begun)
    this.#blank = undefined
    if (first === undefined && begun.length < LONGEST_BLANK) this.#blank = begun
    else this.#choose(first).data(begun)
  }

  end(): void {
    const reader = this.#reader ?? this.#choose(undefined)
    if (this.#blank !== undefined) reader.data(this.#blank)
    reader.end()
  }

  fail(error: unknown): boolean {
    return this.#reader?.fail(error) ?? false
  }

  #choose(first: string | undefined): BodyReader {
    const isJson = first === undefined ? this.#isLabelledJson : this.#isJson(first)
    this.#reader = isJson
      ? new WholeAnswer(this.#exchange, this.#status, true)
      : new EventStream(this.#exchange)
    return this.#reader
  }

  #isJson(first: string): boolean {
    // An event begins with `data`, `event`, `id`, `retry` or, for a comment, with `:`.
    return first === '{' || first === '[' || (this.#isLabelledJson && !'deir:'.includes(first))
  }
}

/** The first character that is neither blank nor part of a byte order mark. */
function firstByte(bytes: Buffer): string | undefined {
  for (const byte of bytes)
    if (byte > 0x20 && byte !== 0xef && byte !== 0xbb && byte !== 0xbf)
      return String.fromCharCode(byte)
  return undefined
}
