import { Log } from './chunk-log.js'
import { type Frame, isFrame } from './frame.js'
import { streamFrom } from './from.js'
import { type ReaderOptions, Stream } from './stream.js'
import { COMPLETE, notifyEnd, type OnEnd, type StreamEnd } from './stream-end.js'

export { Log, type Sharing, type StreamSource } from './chunk-log.js'
export { Frame } from './frame.js'
export { streamFrom } from './from.js'
export { NOTHING, type Nothing, type Reader, StreamIterator } from './iterator.js'
export { Stream, type StreamOptions } from './stream.js'
export { COMPLETE, notifyEnd, type OnEnd, type StreamEnd } from './stream-end.js'
export { Transcript } from './transcript.js'
export { View } from './view.js'

/** Returns whether an answer is a stream. */
export function isStream(answer: unknown): answer is AsyncIterable<unknown> {
  return (
    typeof answer === 'object' &&
    answer !== null &&
    typeof (answer as Partial<AsyncIterable<unknown>>)[Symbol.asyncIterator] === 'function'
  )
}

/** The answer as a `Stream`, wrapped if necessary; `undefined` for a value. */
export function streamOf<Answer>(answer: Answer): Stream<unknown> | undefined {
  if (answer instanceof Stream) return answer
  return isStream(answer) ? streamFrom(answer) : undefined
}

/**
 * Calls `listener` once when the answer ends: immediately for a value; for a stream at its last
 * chunk, its failure, or when the reader leaves. Returns the answer to pass on, which may be a new
 * stream around the given one.
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
 * Calls `look` with every chunk of a stream, in order, as the reader gets it. Never called for a
 * value. `look` must not change the chunk. Returns the answer to pass on.
 */
export function tap<Answer>(answer: Answer, look: (chunk: unknown) => void): Answer {
  const stream = streamOf(answer)
  if (stream === undefined) return answer
  stream.tap(look)
  return stream as Answer
}

/** Collects all chunks of a stream in an array. Rejects when the stream fails. */
export async function collect<Chunk>(stream: AsyncIterable<Chunk>): Promise<Chunk[]> {
  const chunks: Chunk[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return chunks
}

/** A new stream of these chunks or frames. */
export function streamOver<Chunk>(
  chunks: readonly (Chunk | Frame)[],
  end?: StreamEnd,
  reader?: ReaderOptions,
): Stream<Chunk> {
  return new Stream<Chunk>(Log.of(chunks, isFrame(chunks[0]), end), reader)
}

/** Creates a new stream of these chunks on every call. By default it ends as complete. */
export function replay<Chunk>(
  chunks: readonly Chunk[],
  { end }: { end?: StreamEnd | undefined } = {},
): AsyncGenerator<Chunk, undefined, undefined> {
  return streamOver(chunks, end)
}
