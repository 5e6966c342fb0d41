import { isJson, Notes } from '../../core/index.js'
import type {
  BlossomCallOptions,
  BytesAnswer,
  BytesResult,
  ClientNote,
  JsonAnswer,
} from '../types.js'
import { NOTE } from '../upstream.js'
import type { Outgoing } from '../wire/outgoing.js'
import type { Call } from './call.js'

/** The JSON of an answer, for one caller. A layer of the user's may give a plain object. */
export function dataOf({ data }: JsonAnswer): unknown {
  return isJson(data) ? data.take() : data
}

/** What callers get of an answer of bytes. */
export const bytesOf = ({ bytes, contentType }: BytesAnswer): Omit<BytesResult, 'headers'> => ({
  bytes,
  contentType,
})

/** What upstream said beside its answer; empty where it was not asked. */
export const headersIn = (meta: ReadonlyMap<string, unknown>): Readonly<Record<string, string>> =>
  (meta.get(NOTE) as Partial<ClientNote> | undefined)?.headers ?? {}

/** An answer, and what upstream said beside it. */
export async function askWithHeaders<Answer>(
  call: Call,
  request: Outgoing,
  options: BlossomCallOptions,
): Promise<{ answer: Answer; headers: Readonly<Record<string, string>> }> {
  const { meta = new Notes() } = options
  const answer = await call<Answer>(request, { ...options, meta })
  return { answer, headers: headersIn(meta) }
}

/** An answer of bytes, as callers get it. */
export async function bytesFrom(
  call: Call,
  request: Outgoing,
  options: BlossomCallOptions,
): Promise<BytesResult> {
  const { answer, headers } = await askWithHeaders<BytesAnswer>(call, request, options)
  return { ...bytesOf(answer), headers }
}
