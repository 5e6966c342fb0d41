import { isRecord, ValidationError } from '../../../core/index.js'
import { isTooDeep } from '../../server/json-depth.js'

/** More lines are no batch. OpenAI's own limit. */
export const MAX_LINES = 50_000

/** Text is handed on in pieces of about this size. Bytes. */
const PIECE = 256 * 1024
const NEW_LINE = 10

export interface LineLimits {
  readonly lines: number
  /** The longest line. Bytes. */
  readonly bytes: number
}

const refuse = (sentence: string) => new ValidationError(sentence)

/**
 * The text of a file of lines of JSON, in pieces of whole lines, while its bytes come in: exactly as
 * it came, when each of its lines is a JSON object. Lines of white space do not count.
 *
 * @throws ValidationError for the first line that is none, or one line too many
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
  /** Fails for bytes that are no UTF-8, and leaves everything as it is. */
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  /** What has come of a line that goes on. */
  #rest: Uint8Array[] = []
  #restSize = 0
  #ready: string[] = []
  #readySize = 0
  /** Of the line that comes next, from 1. */
  #number = 1
  #count = 0

  constructor(limits: LineLimits) {
    this.#limits = limits
  }

  /** How much is ready to be handed on. */
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

  /** The last line may have no end. */
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
    if (isTooDeep(line)) throw refuse(`Line ${this.#number} is nested too deep.`)
    if (parseLine(text) === undefined)
      throw refuse(`Line ${this.#number} is not a JSON object: the file must be JSONL.`)
  }
}

/** What a line says; undefined when it is no JSON object. */
export function parseLine(text: string): Record<string, unknown> | undefined {
  try {
    // The mark of UTF-8 that some editors put at the beginning of a file.
    const value: unknown = JSON.parse(text.replace(/^\ufeff/, ''))
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** The lines of a text that comes in pieces, with their numbers from 1; none of white space. */
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
