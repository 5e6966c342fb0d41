import {
  Frame,
  isJson,
  readJson,
  type Shared,
  SharedJson,
  share,
  shareList,
  Transcript,
} from '../core/index.js'
import { type Oddity, odditiesIn, withOddities } from './beyond-json.js'

/**
 * A complete answer as stored by the cache: a value, the chunks of a stream, or a stream of frames
 * as the text that arrived.
 */
export type StoredAnswer = { readonly form: 'value'; readonly value: Shared } | StoredStream

/** A complete stream, with the variant that was requested. */
export type StoredStream = { readonly variant?: string | undefined } & (
  | { readonly form: 'stream'; readonly chunks: Shared }
  | { readonly form: 'frames'; readonly transcript: Transcript }
)

/** The stored form of a stream, from the entries that its log has kept. */
export function streamToStore(
  entries: readonly unknown[],
  isFrames: boolean,
  variant: string | undefined,
): StoredStream {
  if (!isFrames) return { form: 'stream', chunks: shareList(entries as Shared[]), variant }
  const frames = withoutAsides(entries as readonly Frame[])
  return { form: 'frames', transcript: Transcript.of(frames), variant }
}

const withoutAsides = (frames: readonly Frame[]): readonly Frame[] =>
  frames.some(({ isAside }) => isAside) ? frames.filter(({ isAside }) => !isAside) : frames

/** Rough size in memory, in bytes. */
export function sizeOf(answer: StoredAnswer): number {
  if (answer.form === 'frames') return answer.transcript.bytes
  return answer.form === 'value' ? answer.value.bytes : answer.chunks.bytes
}

/** The form of an answer for external stores. */
export interface Written {
  readonly form: 'value' | 'json' | 'stream' | 'frames'
  /** Plain JSON and bytes. */
  readonly content: unknown
  /** Values that JSON cannot represent, with their paths. */
  readonly oddities?: readonly Oddity[] | undefined
  /** The variant of the stream that was requested. */
  readonly variant?: unknown
}

/** An answer's form for external stores; undefined when it cannot be restored exactly. */
export function write(answer: StoredAnswer, asText = false): Written | undefined {
  if (answer.form === 'frames') {
    const { form, transcript, variant } = answer
    return { form, content: transcript.toStored(), variant }
  }
  const shared = answer.form === 'value' ? answer.value : answer.chunks
  if (shared instanceof SharedJson) {
    // `rest` has a field for the text, which is undefined.
    const { data: _, ...rest } = shared.rest as { data?: unknown }
    return written('json', { text: shared.text, rest }, asText)
  }
  const variant = answer.form === 'stream' ? answer.variant : undefined
  return written(answer.form, shared.take(), asText, variant)
}

function written(
  form: Written['form'],
  content: unknown,
  asText: boolean,
  variant?: string | undefined,
): Written | undefined {
  const oddities = odditiesIn(content, asText)
  if (oddities === undefined) return undefined
  return oddities.length === 0 ? { form, content, variant } : { form, content, variant, oddities }
}

/**
 * Reads what `write()` returned, from a store that may contain anything; undefined for anything
 * else.
 */
export function read({
  form,
  content: json,
  oddities,
  variant: given,
}: Written): StoredAnswer | undefined {
  const content = withOddities(json, oddities)
  const variant = typeof given === 'string' ? given : undefined
  switch (form) {
    case 'value':
      return { form, value: share(content) }
    case 'stream':
      return Array.isArray(content) ? { form, chunks: share(content), variant } : undefined
    case 'json': {
      const { text, rest } = (content ?? {}) as { text?: unknown; rest?: unknown }
      if (typeof text !== 'string' || typeof rest !== 'object' || rest === null) return undefined
      return { form: 'value', value: share({ ...rest, data: readJson(text) }) }
    }
    case 'frames': {
      const transcript = Transcript.read(content)
      return transcript && { form, transcript: cleaned(transcript), variant }
    }
    default:
      return undefined
  }
}

/**
 * Parses every frame, because frames are sent on as text: they must be JSON without `__proto__`.
 */
function cleaned(transcript: Transcript): Transcript {
  return Transcript.of(
    transcript.frames().map(({ text, event }) => new Frame(readJson(text).text, undefined, event)),
  )
}

/** The chunks of a stored stream, for one caller. */
export function chunksOf(answer: StoredStream): readonly unknown[] {
  return answer.form === 'stream'
    ? (answer.chunks.take() as readonly unknown[])
    : answer.transcript.frames()
}

/** Converts chunks to values: frames are parsed. */
export const valuesOf = (chunks: readonly unknown[]): readonly unknown[] =>
  chunks.map((chunk) => (isJson(chunk) ? chunk.take() : chunk))
