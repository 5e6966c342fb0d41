import type { AnswerStream, StreamReader } from '../../core/index.js'
import type { TextPiece, TextStream, Usage } from '../types.js'
import { finishReasonOf, textOf, usageOf } from '../wire/completion.js'

/**
 * The text of a chat stream. It lies outside the stack, so that nothing in it can be lost to a
 * layer.
 */
export class ChatText implements TextStream {
  usage: Usage | undefined = undefined
  finishReason: string | undefined = undefined
  readonly #chunks: AnswerStream<unknown>
  /**
   * Those who have asked, one after the other: passing over a chunk must not let a later one
   * overtake.
   */
  readonly #asking: StreamReader<TextPiece>[] = []
  #reading = false
  #again = false

  constructor(chunks: AnswerStream<unknown>) {
    this.#chunks = chunks
  }

  next(): Promise<IteratorResult<TextPiece, undefined>> {
    return new Promise((resolve, reject) => {
      this.#asking.push({ resolve, reject })
      if (this.#asking.length === 1) this.#readOn()
    })
  }

  /** A loop, as chunks that are there already are given before `read()` returns. */
  #readOn(): void {
    this.#again = true
    if (this.#reading) return
    this.#reading = true
    while (this.#again) {
      this.#again = false
      this.#chunks.read(this.#reader)
    }
    this.#reading = false
  }

  readonly #reader: StreamReader<unknown> = {
    resolve: (result) => {
      if (result.done) this.#asking.shift()?.resolve(result)
      else {
        const { value } = result
        this.finishReason = finishReasonOf(value) ?? this.finishReason
        this.usage = usageOf(value) ?? this.usage
        const text = textOf(value)
        if (text !== '') this.#asking.shift()?.resolve({ done: false, value: { text } })
      }
      if (this.#asking.length > 0) this.#readOn()
    },
    reject: (error) => {
      this.#asking.shift()?.reject(error)
      if (this.#asking.length > 0) this.#readOn()
    },
  }

  return(): Promise<IteratorResult<TextPiece, undefined>> {
    return this.#chunks.return() as Promise<IteratorResult<never, undefined>>
  }

  throw(error: unknown): Promise<IteratorResult<TextPiece, undefined>> {
    return this.#chunks.throw(error) as Promise<IteratorResult<never, undefined>>
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }
}
