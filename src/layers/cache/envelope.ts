import { wallTime } from '../../core/index.js'
import { textOf } from '../beyond-json.js'
import { read, type StoredAnswer, type Written, write } from '../stored-form.js'
import type { Entry } from './store.js'

/**
 * What is written to a store outside the process. Its own key is in it, so that an entry in the
 * wrong place is not believed. Ages go by the date, as processes share it.
 */
export interface Envelope {
  readonly v: 2
  readonly k: string
  readonly f: Written['form']
  readonly at: number
  /** The share of its time that it is kept for, where that is below 1. */
  readonly s?: number
  readonly d: unknown
  /** What JSON cannot say of the content, where there is such. */
  readonly o?: Written['oddities']
  /** In which variant a stream was asked for, where there are several. */
  readonly w?: unknown
}

/** An entry as it comes out of its envelope. */
export interface Opened extends Entry {
  /** When it was written, by the date. Milliseconds. */
  readonly at: number
}

/** `sealed()` for a store that holds text only. */
export function sealedText(key: string, answer: StoredAnswer, keep: number): string | undefined {
  const envelope = sealed(key, answer, keep, true)
  return envelope && textOf(envelope)
}

/** An answer for a store, by the digest of its key; undefined when it would not come back as it is. */
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
 * What `sealed()` gave, from a store that may hold anything; undefined for what is none.
 * @throws whatever a getter of a live object in the store throws, or SyntaxError for text that is no
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
