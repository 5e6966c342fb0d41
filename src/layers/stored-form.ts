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
 * A complete answer as the cache keeps it: a value, the chunks of a stream, or a stream of frames
 * as the text that it came as.
 */
export type StoredAnswer = { readonly form: 'value'; readonly value: Shared } | StoredStream

/** A complete stream, and in which variant it was asked for. */
export type StoredStream = { readonly variant?: string | undefined } & (
  | { readonly form: 'stream'; readonly chunks: Shared }
  | { readonly form: 'frames'; readonly transcript: Transcript }
)

/** Of a stream, from what its log has kept of it. */
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

/** Rough size in memory. Bytes. */
export function sizeOf(answer: StoredAnswer): number {
  if (answer.form === 'frames') return answer.transcript.bytes
  return answer.form === 'value' ? answer.value.bytes : answer.chunks.bytes
}

/** What a store outside the process holds of an answer. */
export interface Written {
  readonly form: 'value' | 'json' | 'stream' | 'frames'
  /** Plain JSON and bytes. */
  readonly content: unknown
  /** What JSON cannot say of it. */
  readonly oddities?: readonly Oddity[] | undefined
  /** In which a stream was asked for. */
  readonly variant?: unknown
}

/** An answer for a store; undefined when it would not come back as it is. */
export function write(answer: StoredAnswer, asText = false): Written | undefined {
  if (answer.form === 'frames') {
    const { form, transcript, variant } = answer
    return { form, content: transcript.toStored(), variant }
  }
  const shared = answer.form === 'value' ? answer.value : answer.chunks
  if (shared instanceof SharedJson) {
    // The place of the text is in `rest`, and nothing in it.
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

/** What `write()` gave, from a store that may hold anything; undefined for what is none. */
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

/** Parses every frame: what goes out as text must be JSON, and without `__proto__`. */
function cleaned(transcript: Transcript): Transcript {
  return Transcript.of(
    transcript.frames().map(({ text, event }) => new Frame(readJson(text).text, undefined, event)),
  )
}

/** The chunks of a stored stream as one caller gets them. */
export function chunksOf(answer: StoredStream): readonly unknown[] {
  return answer.form === 'stream'
    ? (answer.chunks.take() as readonly unknown[])
    : answer.transcript.frames()
}

/** Chunks as values: frames are parsed. */
export const valuesOf = (chunks: readonly unknown[]): readonly unknown[] =>
  chunks.map((chunk) => (isJson(chunk) ? chunk.take() : chunk))
