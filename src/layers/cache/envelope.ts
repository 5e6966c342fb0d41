import { wallTime } from '../../core/index.js'
import { textOf } from '../beyond-json.js'
import { read, type StoredAnswer, type Written, write } from '../stored-form.js'
import type { Entry } from './store.js'

/**
 * What is written to an external store. It contains its own key, so that an entry in the wrong
 * place is ignored. Ages are based on the wall clock, because processes share the store.
 */
export interface Envelope {
  readonly v: 2
  readonly k: string
  readonly f: Written['form']
  readonly at: number
  /** The share of the normal lifetime for which to keep it, if below 1. */
  readonly s?: number
  readonly d: unknown
  /** Values that JSON cannot represent, if any. */
  readonly o?: Written['oddities']
  /** The variant of the stream that was requested, if there are several. */
  readonly w?: unknown
}

/** An entry read from its envelope. */
export interface Opened extends Entry {
  /** When it was written. Milliseconds since the epoch. */
  readonly at: number
}

/** `sealed()`, for a store that holds only text. */
export function sealedText(key: string, answer: StoredAnswer, keep: number): string | undefined {
  const envelope = sealed(key, answer, keep, true)
  return envelope && textOf(envelope)
}

/**
 * The envelope of an answer, under the digest of its key; undefined when it cannot be restored
 * exactly.
 */
export function sealed(
  key: string,
  answer: StoredAnswer,
  keep: number,
  asText = false,
): Envelope | undefined {
  const written = write(answer, asText)
  if (written === undefined) return undefined
  return {
    v: 2,
    k: key,
    f: written.form,
    at: wallTime(),
    ...(keep < 1 && { s: keep }),
    d: written.content,
    ...(written.oddities && { o: written.oddities }),
    ...(written.variant !== undefined && { w: written.variant }),
  }
}

/**
 * Reads what `sealed()` returned, from a store that may contain anything; undefined for anything
 * else.
 * @throws whatever a getter of a live object in the store throws, or SyntaxError when text is not
 * JSON
 */
export function opened(found: unknown, key: string): Opened | undefined {
  if (!isEnvelope(found, key)) return undefined
  const { f: form, d: content, o: oddities, w: variant, at, s: keep = 1 } = found
  const answer = read({ form, content, oddities, variant })
  return answer && { answer, at, keep, isForeign: true, ageMs: Math.max(0, wallTime() - at) / keep }
}

function isEnvelope(found: unknown, key: string): found is Envelope {
  if (typeof found !== 'object' || found === null) return false
  const { v, k, f, at, s = 1 } = found as Partial<Envelope>
  const isWhole = v === 2 && k === key && typeof f === 'string' && Number.isFinite(at)
  return isWhole && typeof s === 'number' && s > 0 && s <= 1
}
