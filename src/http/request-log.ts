import type { ClientNote } from '../blossom/types.js'
import type { CacheNote } from '../layers/cache.js'

/** One finished request. Nothing of what was asked or answered is in it. */
export interface RequestLog {
  /** ISO 8601. */
  readonly time: string
  readonly level: 'info' | 'warn' | 'error'
  readonly requestId: string
  readonly method: string
  /** The route's path, without prefix and query; the visitor's words are not repeated for an unknown one. */
  readonly route: string
  /** As sent; 499 when the visitor left before the end. */
  readonly status: number
  readonly durationMs: number
  /** Streams: from the request to the first token. */
  readonly firstTokenMs?: number
  /** Time the call waited for a slot. */
  readonly queuedMs?: number
  /** Whether our cache had it. */
  readonly cached?: boolean
  /** Requests made upstream. */
  readonly attempts?: number
  readonly upstreamRequestId?: string
  readonly tenant?: string
  readonly clientAddress?: string
  /** The error's code, when it failed. */
  readonly code?: string
}

/** What the layers have noted of a call. */
export interface CallFacts {
  readonly queuedMs: number | undefined
  readonly cache: CacheNote['status'] | undefined
  readonly attempts: number | undefined
  readonly upstreamRequestId: string | undefined
}

/** Reads a call's notes, whatever names its layers have. */
export function readNotes(meta: ReadonlyMap<string, unknown>, namesOf: (kind: string) => readonly string[]): CallFacts {
  const first = <T>(kind: string): T | undefined => {
    for (const name of namesOf(kind)) if (meta.has(name)) return meta.get(name) as T
    return undefined
  }
  const client = meta.get('client') as ClientNote | undefined
  const cache = first<CacheNote>('cache')?.status
  return {
    queuedMs: first<{ waitedMs: number }>('queue')?.waitedMs,
    cache,
    attempts: client?.attempts ?? (cache === 'hit' || cache === 'stale' ? 0 : undefined),
    upstreamRequestId: client?.requestId,
  }
}
