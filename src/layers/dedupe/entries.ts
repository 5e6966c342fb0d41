import {
  COMPLETE,
  Frame,
  isStackError,
  readJson,
  type Shared,
  StackError,
  type StreamEnd,
  share,
} from '../../core/index.js'
import { textOf } from '../beyond-json.js'
import { read, type Written, write } from '../stored-form.js'

/**
 * One entry of a log that holds an answer: a single value or error, or the chunks of a stream and
 * its end. Each entry is written as a JSON array that starts with its kind.
 */
export type Entry =
  | { readonly kind: 'value'; readonly value: Shared }
  | { readonly kind: 'error'; readonly error: StackError }
  | { readonly kind: 'chunk'; readonly chunk: unknown }
  | { readonly kind: 'frame'; readonly frame: Frame }
  | { readonly kind: 'end'; readonly end: StreamEnd }

/** The entry of a value; undefined when it cannot be restored exactly. */
export function valueEntry(value: Shared): string | undefined {
  return sharedEntry('value', value)
}

/** The entry of a stream's chunk; undefined when it cannot be restored exactly. */
export function chunkEntry(chunk: unknown): string | undefined {
  return sharedEntry('chunk', share(chunk))
}

export function frameEntry({ text, event, isAside }: Frame): string {
  return JSON.stringify(['frame', text, event, isAside])
}

/** The entry of a complete stream's end. */
export function endEntry({ cacheable }: StreamEnd): string {
  return JSON.stringify(['end', cacheable])
}

/**
 * The entry of an error that applies to everybody with the same request. Undefined for an error of
 * this process, such as a full queue, and for one that may contain private details.
 */
export function errorEntry(error: unknown): string | undefined {
  if (!isStackError(error) || error.layer !== undefined || error.refused) return undefined
  if (error.code === 'CLOSED' || error.code === 'CONFIG') return undefined
  return JSON.stringify(['error', error])
}

/** Reads an entry; undefined for invalid text. */
export function readEntry(text: string): Entry | undefined {
  try {
    const [kind, content, ...more] = JSON.parse(text) as [unknown, ...unknown[]]
    switch (kind) {
      case 'value':
      case 'chunk':
        return ofShared(kind, content as Written)
      case 'frame':
        return frameOf(content, more)
      case 'error':
        return { kind, error: StackError.from(content) }
      case 'end':
        return { kind, end: content === false ? { ...COMPLETE, cacheable: false } : COMPLETE }
      default:
        return undefined
    }
  } catch {
    return undefined
  }
}

function sharedEntry(kind: 'value' | 'chunk', value: Shared): string | undefined {
  const written = write({ form: 'value', value }, true)
  return written && textOf([kind, written])
}

function ofShared(kind: 'value' | 'chunk', written: Written): Entry | undefined {
  const answer = read(written)
  if (answer?.form !== 'value') return undefined
  const { value } = answer
  return kind === 'value' ? { kind, value } : { kind, chunk: value.take() }
}

/**
 * Frames are sent on as text, so they must be JSON, except events that are not part of the answer.
 */
function frameOf(text: unknown, [event, isAside]: readonly unknown[]): Entry | undefined {
  if (typeof text !== 'string') return undefined
  const name = typeof event === 'string' ? event : undefined
  if (isAside === true && name !== undefined)
    return { kind: 'frame', frame: Frame.aside(text, name) }
  return { kind: 'frame', frame: new Frame(readJson(text).text, undefined, name) }
}
