import { isJson } from '../../core/index.js'
import type { BytesAnswer, BytesResult, JsonAnswer } from '../types.js'

/** The JSON of an answer, for one caller. A layer of the user's may give a plain object. */
export function dataOf({ data }: JsonAnswer): unknown {
  return isJson(data) ? data.take() : data
}

/** What callers get of an answer of bytes. */
export const bytesOf = ({ bytes, contentType }: BytesAnswer): BytesResult => ({
  bytes,
  contentType,
})
