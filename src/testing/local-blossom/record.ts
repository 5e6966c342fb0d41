import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { now } from '../../core/index.js'
import type { Fault } from './faults.js'

/** How many requests a local Blossom remembers. The oldest are dropped first. */
export const REMEMBERED = 10_000

/**
 * One request as the local Blossom saw it. The record is updated until `outcome` is no longer
 * `'open'`. It never contains the API key.
 */
export interface LocalBlossomRequest {
  /** Counts up from 1. Part of the answer's `x-request-id`. */
  readonly id: number
  /** When its head arrived, on the `performance.now()` clock. Milliseconds. */
  readonly at: number
  readonly method: string
  /** The path as sent, still percent-encoded, without the query. */
  readonly path: string
  /** The query, decoded, without `key`. */
  readonly query: Readonly<Record<string, string>>
  /** Lower-case names. Values of headers that contain secrets are replaced by `[redacted]`. */
  readonly headers: IncomingHttpHeaders
  /**
   * SHA-256, in hex, of the API key from the `Authorization` header or `?key=`; enough to
   * distinguish two keys.
   */
  readonly keySha256: string | undefined
  /** The body as text; empty until it has arrived completely. */
  readonly rawBody: string
  /**
   * The body parsed as JSON, or the fields and files of a form (for a file its name, type, size and
   * SHA-256). Undefined until it has arrived, or if it is neither.
   */
  readonly body: unknown
  /** The status sent; undefined until a head is sent. */
  readonly status: number | undefined
  /**
   * The `x-cache` header sent. `HIT`: from the cache, or shared with an identical request in
   * progress.
   */
  readonly cache: 'HIT' | 'MISS' | undefined
  /** The fault that was applied. */
  readonly fault: Fault | undefined
  /**
   * When its answer was fully handed over, or broke off, on the `performance.now()` clock.
   * Milliseconds.
   */
  readonly endedAt: number | undefined
  /**
   * `open`: still being answered. `complete`: fully answered. `aborted`: the client disconnected
   * first, or `close()` ended it. `fault`: it had a fault, and was answered or broken off
   * accordingly.
   */
  readonly outcome: 'open' | 'complete' | 'aborted' | 'fault'
  /** Bytes of the answer's body handed to the socket. */
  readonly bytesSent: number
  /** Events of a stream written so far, without `[DONE]` and comments; for other bodies, pieces. */
  readonly chunksSent: number
}

/** The same record, writable. @internal */
export type OpenRecord = {
  -readonly [Field in keyof LocalBlossomRequest]: LocalBlossomRequest[Field]
}

/**
 * The parts of a request that must not be recorded because they may contain the API key. @internal
 */
export interface Private {
  readonly key: string | undefined
  /** The query as sent, without its question mark. */
  readonly search: string
}

const SECRET_HEADERS = ['authorization', 'proxy-authorization', 'x-api-key', 'api-key', 'cookie']

/** Starts the record of a request. Returns separately what must not be recorded. @internal */
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
