import {
  AnswerStream,
  COMPLETE,
  notifyEnd,
  type OnEnd,
  type StreamOptions,
} from './answer-stream.js'

export {
  AnswerStream,
  COMPLETE,
  notifyEnd,
  type OnEnd,
  type StreamEnd,
  type StreamOptions,
  type StreamReader,
  type StreamSource,
  type Transcribe,
} from './answer-stream.js'

/** Whether an answer is a stream. */
export function isStream(answer: unknown): answer is AsyncIterable<unknown> {
  return (
    typeof answer === 'object' &&
    answer !== null &&
    typeof (answer as Partial<AsyncIterable<unknown>>)[Symbol.asyncIterator] === 'function'
  )
}

/** The stream's wrapper, made when there is none yet; `undefined` for a value. */
export function streamOf<Answer>(answer: Answer): AnswerStream<unknown> | undefined {
  if (answer instanceof AnswerStream) return answer
  return isStream(answer) ? AnswerStream.from(answer) : undefined
}

/**
 * Tells `listener` once when the answer ends: at once for a value; for a stream at its last chunk,
 * its failure, or when the reader leaves. Returns the answer to pass on, which for a foreign stream
 * is its wrapper.
 */
export function onEnd<Answer>(answer: Answer, listener: OnEnd): Answer {
  const stream = streamOf(answer)
  if (stream === undefined) {
    notifyEnd(listener, COMPLETE)
    return answer
  }
  stream.onEnd(listener)
  return stream as Answer
}

/**
 * Calls `look` with every chunk of a stream, in order. Nothing for a value. Returns the answer to
 * pass on.
 */
export function tap<Answer>(answer: Answer, look: (chunk: unknown) => void): Answer {
  const stream = streamOf(answer)
  if (stream === undefined) return answer
  stream.tap(look)
  return stream as Answer
}

/** All chunks of a stream. Rejects with what the stream ends with. */
export async function collect<Chunk>(stream: AsyncIterable<Chunk>): Promise<Chunk[]> {
  const chunks: Chunk[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return chunks
}

/** The chunks as a new stream, every time it is called. */
export function replay<Chunk>(
  chunks: readonly Chunk[],
  options: StreamOptions<Chunk> = {},
): AnswerStream<Chunk> {
  return AnswerStream.of(chunks, options)
}
