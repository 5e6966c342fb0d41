import { createHash, type Hash } from 'node:crypto'
import { isPlain, isRecord, type JobLine, ValidationError } from '../core/index.js'
import type { BatchItem } from './types.js'

/** Lines go to where they are kept in parts of about so many characters, and of so many lines. */
const PART_SIZE = 512 * 1024
const PART_LINES = 500

/** A line that is to be accepted. */
export interface NewLine {
  readonly customId: string
  readonly body: BatchItem
}

const LONGEST_ID = 512

/** Whether a value can name a batch or a line. Half of a surrogate pair could not be kept. */
export const isId = (value: unknown): value is string =>
  typeof value === 'string' &&
  value !== '' &&
  value.length <= LONGEST_ID &&
  (value as string & { isWellFormed(): boolean }).isWellFormed()

/**
 * Lines on their way to where they are kept: looked at one by one, in parts that fit into memory,
 * with a digest of all of them.
 */
export class NewLines {
  readonly #source: Iterable<NewLine> | AsyncIterable<NewLine>
  readonly #hash: Hash
  /** Digests, as names may be long. */
  readonly #seen = new Set<string>()
  #failure: { readonly error: unknown } | undefined

  /** @param of what else tells one batch from another */
  constructor(source: Iterable<NewLine> | AsyncIterable<NewLine>, of: readonly string[]) {
    this.#source = source
    this.#hash = createHash('sha256').update(JSON.stringify(of))
  }

  get count(): number {
    return this.#seen.size
  }

  /** What was wrong with the lines, where that is why they did not come to their end. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#failure
  }

  digest(): string {
    return this.#hash.copy().digest('base64url')
  }

  async *parts(): AsyncGenerator<readonly JobLine[], undefined, undefined> {
    let part: JobLine[] = []
    let size = 0
    try {
      for await (const line of this.#source) {
        const kept = this.#read(line)
        part.push(kept)
        size += kept.text.length
        if (size < PART_SIZE && part.length < PART_LINES) continue
        yield part
        part = []
        size = 0
      }
    } catch (error) {
      this.#failure = { error }
      throw error
    }
    if (part.length > 0) yield part
    return undefined
  }

  #read({ customId, body }: NewLine): JobLine {
    const at = this.#seen.size
    if (!isId(customId))
      throw wrong(at, `the custom id must be a string of 1 to ${LONGEST_ID} characters`)
    const digest = createHash('sha256').update(customId).digest('base64url')
    if (this.#seen.has(digest)) throw wrong(at, 'the custom id has come before')
    this.#seen.add(digest)
    const text = textOf(body, at)
    this.#hash.update(JSON.stringify([customId, text]))
    return { key: customId, text }
  }
}

function textOf(body: BatchItem, at: number): string {
  let text: string | undefined
  let streams = false
  try {
    if (isRecord(body) && isPlain(body)) text = JSON.stringify(body)
    streams = body.stream === true
  } catch {
    // A cycle, a bigint, a getter that throws.
  }
  if (text === undefined) throw wrong(at, 'the body must be a plain object of JSON')
  if (streams) throw wrong(at, '"stream" must not be true: an answer is kept whole')
  return text
}

const wrong = (at: number, what: string) => new ValidationError(`create: item ${at}: ${what}.`)
