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
 * What a log says of an answer: one value, or an error, or the chunks of a stream and then its end.
 * Each is a text, as a list whose first field tells its kind.
 */
export type Entry =
  | { readonly kind: 'value'; readonly value: Shared }
  | { readonly kind: 'error'; readonly error: StackError }
  | { readonly kind: 'chunk'; readonly chunk: unknown }
  | { readonly kind: 'frame'; readonly frame: Frame }
  | { readonly kind: 'end'; readonly end: StreamEnd }

/** A value; undefined when it would not come back as it is. */
export function valueEntry(value: Shared): string | undefined {
  return sharedEntry('value', value)
}

/** A chunk of a stream; undefined when it would not come back as it is. */
export function chunkEntry(chunk: unknown): string | undefined {
  return sharedEntry('chunk', share(chunk))
}

export function frameEntry({ text, event, isAside }: Frame): string {
  return JSON.stringify(['frame', text, event, isAside])
}

/** The end of a stream that is complete. */
export function endEntry({ cacheable }: StreamEnd): string {
  return JSON.stringify(['end', cacheable])
}

/**
 * An error for everybody who has asked the same; undefined for one that is this process' own, such
 * as a full queue, or that may hold what others must not see.
 */
export function errorEntry(error: unknown): string | undefined {
  if (!isStackError(error) || error.layer !== undefined || error.refused) return undefined
  if (error.code === 'CLOSED' || error.code === 'CONFIG') return undefined
  return JSON.stringify(['error', error])
}

/** An entry; undefined for a text that is none. */
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

/** What goes out as text must be JSON, unless it stands beside the answer. */
function frameOf(text: unknown, [event, isAside]: readonly unknown[]): Entry | undefined {
  if (typeof text !== 'string') return undefined
  const name = typeof event === 'string' ? event : undefined
  if (isAside === true && name !== undefined)
    return { kind: 'frame', frame: Frame.aside(text, name) }
  return { kind: 'frame', frame: new Frame(readJson(text).text, undefined, name) }
}
