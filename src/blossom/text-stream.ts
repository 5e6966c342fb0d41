import { finishReasonOf, textOf, usageOf } from './completion.js'
import type { TextPiece, TextStream, Usage } from './types.js'

/** The text of a chat stream. It lies outside the stack, so that nothing in it can be lost to a layer. */
export class ChatText implements TextStream {
  usage: Usage | undefined = undefined
  finishReason: string | undefined = undefined
  readonly #chunks: AsyncGenerator<unknown, undefined, undefined>
  #turn: Promise<IteratorResult<TextPiece, undefined>> | undefined

  constructor(chunks: AsyncGenerator<unknown, undefined, undefined>) {
    this.#chunks = chunks
  }

  next(): Promise<IteratorResult<TextPiece, undefined>> {
    // One after the other: passing over a chunk must not let a later call overtake.
    const read = () => this.#read()
    const turn = this.#turn === undefined ? read() : this.#turn.then(read, read)
    const over = () => {
      if (this.#turn === turn) this.#turn = undefined
    }
    this.#turn = turn
    turn.then(over, over)
    return turn
  }

  async #read(): Promise<IteratorResult<TextPiece, undefined>> {
    for (;;) {
      const result = await this.#chunks.next()
      if (result.done) return result
      this.finishReason = finishReasonOf(result.value) ?? this.finishReason
      this.usage = usageOf(result.value) ?? this.usage
      const text = textOf(result.value)
      if (text !== '') return { done: false, value: { text } }
    }
  }

  return(): Promise<IteratorResult<TextPiece, undefined>> {
    return this.#chunks.return(undefined) as Promise<IteratorResult<never, undefined>>
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
