import { isRecord, ValidationError } from '../../../core/index.js'
import { isTooDeep } from '../../server/json-depth.js'

/** Maximum number of lines of a batch, as in OpenAI's API. */
export const MAX_LINES = 50_000

/** Approximate size of the pieces of text. Bytes. */
const PIECE = 256 * 1024
const NEW_LINE = 10

export interface LineLimits {
  readonly lines: number
  /** Maximum length of a line. Bytes. */
  readonly bytes: number
}

const refuse = (sentence: string) => new ValidationError(sentence)

/**
 * Validates a JSONL file while it arrives, and yields its unchanged text in pieces of whole lines.
 * Blank lines are not counted.
 *
 * @throws ValidationError at the first line that is not a JSON object, or above the limits
 */
export async function* checkedLines(
  chunks: AsyncIterable<Uint8Array>,
  limits: LineLimits,
): AsyncGenerator<string, undefined, undefined> {
  const lines = new LineReader(limits)
  for await (const chunk of chunks) {
    lines.add(chunk)
    if (lines.size >= PIECE) yield lines.take()
  }
  lines.end()
  if (lines.size > 0) yield lines.take()
  return undefined
}

class LineReader {
  readonly #limits: LineLimits
  /** Throws if the bytes are not UTF-8; keeps a byte order mark. */
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  /** The bytes so far of an incomplete line. */
  #rest: Uint8Array[] = []
  #restSize = 0
  #ready: string[] = []
  #readySize = 0
  /** Number of the next line, from 1. */
  #number = 1
  #count = 0

  constructor(limits: LineLimits) {
    this.#limits = limits
  }

  /** Size of the text that is ready. */
  get size(): number {
    return this.#readySize
  }

  take(): string {
    const text = this.#ready.join('')
    this.#ready = []
    this.#readySize = 0
    return text
  }

  add(chunk: Uint8Array): void {
    let from = 0
    for (let end = chunk.indexOf(NEW_LINE); end !== -1; end = chunk.indexOf(NEW_LINE, from)) {
      this.#keep(chunk.subarray(from, end + 1))
      this.#endLine()
      from = end + 1
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from))
  }

  /** Ends the file, whose last line may lack its newline. */
  end(): void {
    if (this.#restSize > 0) this.#endLine()
  }

  #keep(part: Uint8Array): void {
    this.#restSize += part.length
    if (this.#restSize > this.#limits.bytes)
      throw refuse(`Line ${this.#number} is longer than ${this.#limits.bytes} bytes.`)
    this.#rest.push(part)
  }

  #endLine(): void {
    const [first] = this.#rest
    const line = this.#rest.length === 1 ? (first as Uint8Array) : Buffer.concat(this.#rest)
    this.#rest = []
    this.#restSize = 0
    const text = this.#decode(line)
    if (text.trim() !== '') this.#check(line, text)
    this.#ready.push(text)
    this.#readySize += line.length
    this.#number++
  }

  #decode(line: Uint8Array): string {
    try {
      return this.#utf8.decode(line)
    } catch {
      throw refuse(`Line ${this.#number} is not UTF-8.`)
    }
  }

  #check(line: Uint8Array, text: string): void {
    if (++this.#count > this.#limits.lines)
      throw refuse(`The file has more than ${this.#limits.lines} lines.`)
    if (isTooDeep(line)) throw refuse(`Line ${this.#number} is nested too deeply.`)
    if (parseLine(text) === undefined)
      throw refuse(`Line ${this.#number} is not a JSON object: the file must be JSONL.`)
  }
}

/** Parses a line; `undefined` if it is not a JSON object. */
export function parseLine(text: string): Record<string, unknown> | undefined {
  try {
    // Some editors put a byte order mark at the beginning of a file.
    const value: unknown = JSON.parse(text.replace(/^\ufeff/, ''))
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** The lines of a text in pieces, numbered from 1, without blank lines. */
export async function* linesOf(
  pieces: AsyncIterable<string>,
): AsyncGenerator<{ readonly text: string; readonly number: number }, undefined, undefined> {
  let rest = ''
  let number = 0
  for await (const piece of pieces) {
    const lines = (rest + piece).split('\n')
    rest = lines.pop() as string
    for (const text of lines) {
      number++
      if (text.trim() !== '') yield { text, number }
    }
  }
  if (rest.trim() !== '') yield { text: rest, number: number + 1 }
  return undefined
}
