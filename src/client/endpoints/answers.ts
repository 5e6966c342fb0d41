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

/** The JSON of an answer, for one caller. A user's own layer may return a plain object. */
export function dataOf({ data }: JsonAnswer): unknown {
  return isJson(data) ? data.take() : data
}

/** The public fields of an answer in bytes. */
export const bytesOf = ({ bytes, contentType }: BytesAnswer): Omit<BytesResult, 'headers'> => ({
  bytes,
  contentType,
})

/** Headers of upstream's answer; empty if no request was sent. */
export const headersIn = (meta: ReadonlyMap<string, unknown>): Readonly<Record<string, string>> =>
  (meta.get(NOTE) as Partial<ClientNote> | undefined)?.headers ?? {}

/** Sends a request and returns its answer with upstream's headers. */
export async function askWithHeaders<Answer>(
  call: Call,
  request: Outgoing,
  options: BlossomCallOptions,
): Promise<{ answer: Answer; headers: Readonly<Record<string, string>> }> {
  const { meta = new Notes() } = options
  const answer = await call<Answer>(request, { ...options, meta })
  return { answer, headers: headersIn(meta) }
}

/** Sends a request and returns the bytes of its answer with upstream's headers. */
export async function bytesFrom(
  call: Call,
  request: Outgoing,
  options: BlossomCallOptions,
): Promise<BytesResult> {
  const { answer, headers } = await askWithHeaders<BytesAnswer>(call, request, options)
  return { ...bytesOf(answer), headers }
}
