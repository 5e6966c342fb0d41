import { NOTHING, type Nothing, type StreamIterator, View } from '../../core/index.js'
import type { TextPiece, TextStream, Usage } from '../types.js'
import { finishReasonOf, textOf, usageOf } from '../wire/completion.js'

/**
 * The text of a chat stream. It wraps the stack's answer, so the layers still see the whole chunks.
 */
export class ChatText extends View<unknown, TextPiece> implements TextStream {
  usage: Usage | undefined = undefined
  finishReason: string | undefined = undefined

  readonly headers: Readonly<Record<string, string>>

  constructor(chunks: StreamIterator<unknown>, headers: Readonly<Record<string, string>>) {
    super(chunks)
    this.headers = headers
  }

  protected map(chunk: unknown): TextPiece | Nothing {
    this.finishReason = finishReasonOf(chunk) ?? this.finishReason
    this.usage = usageOf(chunk) ?? this.usage
    const text = textOf(chunk)
    return text === '' ? NOTHING : { text }
  }
}
