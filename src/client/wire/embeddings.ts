import { isRecord } from '../../core/index.js'
import type { BlossomRequest } from '../types.js'

type Item = Readonly<Record<string, unknown>>

/**
 * The items of an answer in the order of the inputs: by index, or by position if every index is 0
 * or missing. `undefined` unless there is exactly one item for each input.
 */
export function itemsIn(data: unknown, count: number): Item[] | undefined {
  const list = isRecord(data) ? data.data : undefined
  if (!Array.isArray(list) || list.length !== count || !list.every(isRecord)) return undefined
  if (list.every(({ index }) => !index)) return list
  const ordered: Item[] = []
  for (const [place, item] of list.entries())
    ordered[typeof item.index === 'number' ? item.index : place] = item
  // An index that is missing, duplicate or too large leaves a gap.
  return ordered.length === count && !ordered.includes(undefined as never) ? ordered : undefined
}

/** The embeddings in the order of the inputs; `undefined` unless there is exactly one for each. */
export function embeddingsIn(
  data: unknown,
  count: number,
  asNumbers: boolean,
): unknown[] | undefined {
  const embeddings = itemsIn(data, count)?.map(({ embedding }) => embedding)
  const isOne = (embedding: unknown) =>
    Array.isArray(embedding) || (!asNumbers && typeof embedding === 'string')
  return embeddings?.every(isOne) ? embeddings : undefined
}

/**
 * Converts the embeddings of an answer to the requested format, numbers by default or base64.
 * Returns the same object if nothing changes.
 */
export function inTheFormAskedFor({ body }: BlossomRequest, data: unknown): unknown {
  const convert = CONVERSIONS[String(body?.encoding_format ?? 'float')]
  if (convert === undefined || !isRecord(data) || !Array.isArray(data.data)) return data
  let isChanged = false
  const items: unknown[] = data.data.map((item: unknown) => {
    const embedding = isRecord(item) ? convert(item.embedding) : undefined
    if (embedding === undefined) return item
    isChanged = true
    return { ...(item as Item), embedding }
  })
  return isChanged ? { ...data, data: items } : data
}

/**
 * Converters by requested format. Each returns `undefined` if no conversion is needed or possible.
 */
const CONVERSIONS: Readonly<Record<string, ((embedding: unknown) => unknown) | undefined>> =
  Object.assign(Object.create(null), { float: toNumbers, base64: toBase64 })

/** @see https://platform.openai.com/docs/api-reference/embeddings float32, little-endian */
function toNumbers(embedding: unknown): number[] | undefined {
  if (typeof embedding !== 'string') return undefined
  const bytes = Buffer.from(embedding, 'base64')
  if (bytes.length === 0 || bytes.length % 4 !== 0) return undefined
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4))
}

function toBase64(embedding: unknown): string | undefined {
  if (!Array.isArray(embedding) || !embedding.every((one) => typeof one === 'number'))
    return undefined
  const bytes = Buffer.alloc(embedding.length * 4)
  for (const [i, one] of embedding.entries()) bytes.writeFloatLE(one, i * 4)
  return bytes.toString('base64')
}
