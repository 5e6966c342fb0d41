import { createHash, type Hash } from 'node:crypto'
import { isPlain, isRecord, type JobLine, ValidationError } from '../core/index.js'
import type { BatchItem } from './types.js'

/** Lines are stored in parts of about this many characters, and at most this many lines. */
const PART_SIZE = 512 * 1024
const PART_LINES = 500

/** A line of a new batch. */
export interface NewLine {
  readonly customId: string
  readonly body: BatchItem
}

const LONGEST_ID = 512

/** Whether a value is a valid id. Unpaired surrogates are not, because they cannot be stored. */
export const isId = (value: unknown): value is string =>
  typeof value === 'string' &&
  value !== '' &&
  value.length <= LONGEST_ID &&
  (value as string & { isWellFormed(): boolean }).isWellFormed()

/**
 * Validates the lines of a new batch one by one, yields them in parts that fit into memory, and
 * computes a digest of all of them.
 */
export class NewLines {
  readonly #source: Iterable<NewLine> | AsyncIterable<NewLine>
  readonly #hash: Hash
  /** Digests of the custom ids, which may be long. */
  readonly #seen = new Set<string>()
  #failure: { readonly error: unknown } | undefined

  /** @param of other data that distinguishes batches, for the digest */
  constructor(source: Iterable<NewLine> | AsyncIterable<NewLine>, of: readonly string[]) {
    this.#source = source
    this.#hash = createHash('sha256').update(JSON.stringify(of))
  }

  get count(): number {
    return this.#seen.size
  }

  /** The error of an invalid line, if there was one. */
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
    if (this.#seen.has(digest)) throw wrong(at, 'the custom id is not unique')
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
    // A cycle, a bigint, or a getter that throws.
  }
  if (text === undefined)
    throw wrong(at, 'the body must be a plain object that can be written as JSON')
  if (streams) throw wrong(at, '"stream" must not be true, because answers are stored as a whole')
  return text
}

const wrong = (at: number, what: string) => new ValidationError(`create: item ${at}: ${what}.`)
