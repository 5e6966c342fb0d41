import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { now } from '../../core/index.js'
import type { Fault } from './faults.js'

/** How many requests a local Blossom remembers; older ones are forgotten first. */
export const REMEMBERED = 10_000

/**
 * One request as the local Blossom saw it. The record lives: it changes until `outcome` is no
 * longer `'open'`. The key itself is never kept.
 */
export interface LocalBlossomRequest {
  /** Counts up from 1 and is part of the answer's `x-request-id`. */
  readonly id: number
  /** When its head arrived, on the `performance.now()` clock, in milliseconds. */
  readonly at: number
  readonly method: string
  /** The path as sent, still percent-encoded, without the query. */
  readonly path: string
  /** The query, decoded, without `key`. */
  readonly query: Readonly<Record<string, string>>
  /** Lower-case names; the values of headers that carry secrets are replaced by `[redacted]`. */
  readonly headers: IncomingHttpHeaders
  /**
   * SHA-256 in hex of the key it came with, from the `Authorization` header or `?key=`: enough to
   * tell two keys apart.
   */
  readonly keySha256: string | undefined
  /** The body as text; empty until it has arrived whole. */
  readonly rawBody: string
  /**
   * The body parsed as JSON, or the fields and files of a form (of a file its name, type, size and
   * SHA-256); undefined while it has not arrived or if it is neither.
   */
  readonly body: unknown
  /** The status sent; undefined while no head was sent. */
  readonly status: number | undefined
  /**
   * The `x-cache` sent: `HIT` for an answer from the cache or one shared with an identical request
   * in progress.
   */
  readonly cache: 'HIT' | 'MISS' | undefined
  /** The fault it was given. */
  readonly fault: Fault | undefined
  /** When its answer was handed over whole, or broke off, on the `performance.now()` clock. */
  readonly endedAt: number | undefined
  /**
   * `open`: still answering · `complete`: answered whole · `aborted`: the client left first (or
   * `close()` ended it) · `fault`: it had a fault, and was answered whole or broken off as the
   * fault wanted.
   */
  readonly outcome: 'open' | 'complete' | 'aborted' | 'fault'
  /** Bytes of the answer's body handed to the socket. */
  readonly bytesSent: number
  /** Events of a stream written so far (`[DONE]` and comments are none); pieces of another body. */
  readonly chunksSent: number
}

/** The same record for those who write it. @internal */
export type OpenRecord = {
  -readonly [Field in keyof LocalBlossomRequest]: LocalBlossomRequest[Field]
}

/** What of a request may not be kept, since it can hold the key. @internal */
export interface Private {
  readonly key: string | undefined
  /** The query as sent, without its question mark. */
  readonly search: string
}

const SECRET_HEADERS = ['authorization', 'proxy-authorization', 'x-api-key', 'api-key', 'cookie']

/**
 * Begins the record of a request, and returns beside it what the record must not hold. @internal
 */
export function beginRecord(
  id: number,
  message: IncomingMessage,
): { record: OpenRecord; secret: Private } {
  const target = (message.url ?? '/').replace(/^https?:\/\/[^/?#]*/i, '')
  const mark = target.indexOf('?')
  const path = mark < 0 ? target : target.slice(0, mark)
  const search = mark < 0 ? '' : target.slice(mark + 1)
  const query = new URLSearchParams(search)
  const key =
    /^Bearer +(\S+) *$/i.exec(message.headers.authorization ?? '')?.[1] ??
    query.get('key') ??
    undefined
  query.delete('key')
  const headers = { ...message.headers }
  for (const name of SECRET_HEADERS) if (headers[name] !== undefined) headers[name] = '[redacted]'
  const record: OpenRecord = {
    id,
    at: now(),
    method: message.method ?? 'GET',
    path: path === '' ? '/' : path,
    query: Object.fromEntries(query),
    headers,
    keySha256: key === undefined ? undefined : createHash('sha256').update(key).digest('hex'),
    rawBody: '',
    body: undefined,
    status: undefined,
    cache: undefined,
    fault: undefined,
    endedAt: undefined,
    outcome: 'open',
    bytesSent: 0,
    chunksSent: 0,
  }
  return { record, secret: { key, search } }
}
